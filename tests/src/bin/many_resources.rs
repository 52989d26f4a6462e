// SPDX-License-Identifier: GPL-2.0
//! Drives many resources at once from one process: resource `mN` with minor N on /dev/mapper/mN. For tests in virtual machines, where
//! starting a tool for each of them would take minutes.
//!
//!     many-resources up OWN PEER COUNT    metadata like that of m0, then everything up to CONNECT, from port 8000 on
//!     many-resources WHAT COUNT           skip-initial-sync | primary | secondary | down
//!     many-resources write COUNT          16 KiB into each device, at places of their own

use drbd_core::genl::{command, container};
use netlink_api::build::{parse_address, Context, Request};
use netlink_api::{Client, Options};
use std::error::Error;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

/// Metadata at the end of a device, more than there is.
const METADATA_BYTES: u64 = 64 << 10;
/// Size of every backing device.
const DEVICE_BYTES: u64 = 1 << 20;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up", own, peer, count] => up(own, peer, count.parse()?).await,
        ["write", count] => write(count.parse()?),
        [what, count] => each(what, count.parse()?).await,
        _ => Err("usage: many-resources up OWN PEER COUNT | WHAT COUNT".into()),
    }
}

async fn ask(client: &mut Client, what: String, request: Request) -> Outcome<()> {
    send(client, what, request.build()).await
}

async fn send(client: &mut Client, what: String, message: netlink_api::message::Message) -> Outcome<()> {
    let reply = client.ask(&message).await.map_err(|error| format!("{what}: {error}"))?;
    match reply.code {
        1 | 2 | 101 => Ok(()),
        code => Err(format!("{what}: code {code}").into()),
    }
}

async fn up(own: &str, peer: &str, count: u32) -> Outcome<()> {
    let mut metadata = vec![0; METADATA_BYTES as usize];
    let at = DEVICE_BYTES - METADATA_BYTES;
    OpenOptions::new().read(true).open("/dev/mapper/m0")?.read_exact_at(&mut metadata, at)?;
    let mut client = Client::open().await?;
    let mut net = Options::new();
    for (name, value) in [("ping-timeout", "300"), ("ping-int", "60"), ("timeout", "600"), ("connect-int", "5")] {
        net.add(container::NET_CONF, name, Some(value)).map_err(|error| error.to_string())?;
    }
    for n in 0..count {
        let (name, device) = (format!("m{n}"), format!("/dev/mapper/m{n}"));
        if n > 0 {
            let disk = OpenOptions::new().write(true).open(&device)?;
            disk.write_all_at(&metadata, at)?;
            disk.sync_all()?;
        }
        let context = Context::resource(&name);
        ask(&mut client, format!("new-resource {name}"), Request::new(command::NEW_RESOURCE).context(context.clone())).await?;
        let volume = Context { volume: Some(0), ..context.clone() };
        ask(&mut client, format!("new-minor {n}"), Request::new(command::NEW_MINOR).minor(n).context(volume)).await?;
        let attach = Request::new(command::ATTACH).minor(n).options(container::DISK_CONF, Options::new(), true);
        let attach = attach.build_with(container::DISK_CONF, |writer| {
            writer.string(1, device.as_bytes());
            writer.string(2, device.as_bytes());
            writer.u32(3, -3i32 as u32);
        });
        send(&mut client, format!("attach {n}"), attach).await?;
        let port = 8000 + n;
        let [own, peer] = [own, peer].map(|host| parse_address(&format!("ipv4:{host}:{port}")));
        let addresses = Context { own_address: Some(own?), peer_address: Some(peer?), ..context };
        let connect = Request::new(command::CONNECT).context(addresses).options(container::NET_CONF, net.clone(), false);
        ask(&mut client, format!("connect {name}"), connect).await?;
    }
    Ok(())
}

async fn each(what: &str, count: u32) -> Outcome<()> {
    let mut client = Client::open().await?;
    let mut clear = Options::new();
    clear.add(container::NEW_C_UUID_PARMS, "clear-bitmap", None).map_err(|error| error.to_string())?;
    for n in 0..count {
        let of_minor = |number| Request::new(number).minor(n);
        let request = match what {
            "skip-initial-sync" => of_minor(command::NEW_C_UUID).options(container::NEW_C_UUID_PARMS, clear.clone(), false),
            "primary" => of_minor(command::PRIMARY),
            "secondary" => of_minor(command::SECONDARY),
            "down" => Request::new(command::DOWN).context(Context::resource(&format!("m{n}"))),
            _ => return Err(format!("{what}: unknown").into()),
        };
        ask(&mut client, format!("{what} {n}"), request).await?;
    }
    Ok(())
}

fn write(count: u32) -> Outcome<()> {
    for n in 0..count {
        let device = OpenOptions::new().write(true).open(format!("/dev/drbd{n}"))?;
        let data: Vec<u8> = (0..16_384u32).map(|at| (at.wrapping_mul(31) ^ n) as u8).collect();
        device.write_all_at(&data, u64::from(n % 200) * 4096)?;
        device.sync_all()?;
    }
    Ok(())
}
