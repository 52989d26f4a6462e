// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 1, adjust: the output of `drbdsetup show` is understood.

use drbd_config::model::{HostKind, MetaIndex};
use drbd_config::options::{is_default, Place};
use drbd_config::parse_running;

const SHOWN: &str = r#"resource r0 {
    options {
        cpu-mask        	""; # default
        on-no-data-accessible	io-error; # default
    }
    net {
        protocol        	C; # default
        timeout         	60; # 1/10 seconds, default
        sndbuf-size     	0; # bytes, default
        cram-hmac-alg   	""; # default
        after-sb-0pri   	disconnect; # default
        congestion-fill 	0s; # bytes, default
        verify-alg      	"crc32c";
        use-rle         	yes; # default
        discard-my-data 	no; # default
    }
    _remote_host {
        address			ipv6 [fd01::2]:7789;
    }
    _this_host {
        address			ipv6 [fd01::1]:7789;
        volume 0 {
            device			minor 0;
            disk			"/dev/vda";
            meta-disk			"/dev/vdm" [ 3 ];
            disk {
                size            	0s; # bytes, default
                resync-rate     	5120k; # bytes/second
                resync-after    	-1; # default
                c-fill-target   	100s; # bytes, default
                read-balancing  	prefer-local; # default
            }
        }
        volume 1 {
            device			minor 1;
        }
    }
}
"#;

#[test]
fn everything_drbdsetup_shows_is_in_the_model() {
    let found = parse_running(SHOWN).expect("understood");
    let [resource] = &found[..] else {
        panic!("{found:?}")
    };
    let host = |kind| {
        resource
            .hosts
            .iter()
            .find(|h| h.kind == kind)
            .expect("host")
    };
    let (own, peer) = (host(HostKind::This), host(HostKind::Remote));
    assert_eq!(
        own.address.as_ref().map(|a| a.endpoint()).as_deref(),
        Some("ipv6:[fd01::1]:7789")
    );
    assert_eq!(
        peer.address.as_ref().map(|a| a.endpoint()).as_deref(),
        Some("ipv6:[fd01::2]:7789")
    );
    assert_eq!(own.volumes.len(), 2);
    assert_eq!(
        (own.volumes[0].disk_path(), own.volumes[0].meta_path()),
        ("/dev/vda", "/dev/vdm")
    );
    assert_eq!(
        own.volumes[0].meta_disk.as_ref().map(|m| m.index.clone()),
        Some(MetaIndex::Slot(3))
    );
    assert!(own.volumes[1].disk.is_none());
    assert_eq!(resource.net.get("verify-alg"), Some("crc32c"));
}

#[test]
fn what_is_marked_as_default_is_a_default() {
    let resource = parse_running(SHOWN).expect("understood").remove(0);
    let disk = &resource
        .hosts
        .iter()
        .find(|h| h.kind == HostKind::This)
        .expect("own")
        .volumes[0]
        .disk_options;
    for (place, section) in [
        (Place::Net, &resource.net),
        (Place::Disk, disk),
        (Place::Options, &resource.options),
    ] {
        for setting in &section.settings {
            let marked = !["verify-alg", "resync-rate"].contains(&setting.name.as_str());
            let value = setting.value.as_deref().unwrap_or("");
            assert_eq!(
                is_default(place, &setting.name, value),
                marked,
                "{} {value}",
                setting.name
            );
        }
    }
}

#[test]
fn names_are_shown_without_quotes_and_faults_have_a_place() {
    let found = parse_running("resource my data {\n}\nresource disk {\n}\n").expect("understood");
    let names: Vec<&str> = found.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["my data", "disk"]);
    let fault = parse_running("resource r0 {\n    quack;\n}").expect_err("refused");
    assert_eq!(fault.position.map(|p| (p.line, p.column)), Some((2, 5)));
    assert!(parse_running("").expect("nothing runs").is_empty());
}
