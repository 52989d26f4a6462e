// SPDX-License-Identifier: GPL-2.0
//! Disk, network and resource options as values (netlink-and-tools.md section 3).

use super::attributes::{self, Kind, Spec};
use super::reader::Attributes;
use super::writer::Writer;

/// A string of at most `N` bytes, kept inline.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FixedString<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> FixedString<N> {
    /// Empty.
    pub const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    /// A copy; `None`: too long.
    pub fn from_bytes(text: &[u8]) -> Option<Self> {
        let mut new = Self::new();
        new.bytes.get_mut(..text.len())?.copy_from_slice(text);
        new.length = u8::try_from(text.len()).ok()?;
        Some(new)
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }

    /// No text.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<const N: usize> Default for FixedString<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> core::fmt::Debug for FixedString<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(core::str::from_utf8(self.as_bytes()).unwrap_or("?"))
    }
}

/// Longest option text.
pub const NAME_BYTES: usize = 64;

/// Options without text are kept as numbers in the order of their specification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbers<const N: usize> {
    values: [u64; N],
}

/// A request is not understood: code 126 with this text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// `required attribute missing`
    Missing,
    /// `can not change invariant setting`
    Invariant,
    /// `invalid attribute value`
    Value,
    /// cpu-mask is no mask: code 162.
    CpuMask,
}

impl ConfigError {
    /// The info text for user space.
    pub const fn text(self) -> &'static str {
        match self {
            ConfigError::Missing => "required attribute missing",
            ConfigError::Invariant => "can not change invariant setting",
            ConfigError::Value => "invalid attribute value",
            ConfigError::CpuMask => "invalid cpu-mask",
        }
    }
}

/// The value as it is kept; `None`: out of range.
fn admitted(spec: &Spec, value: u64) -> Option<u64> {
    match (spec.option, spec.kind) {
        ("resync-rate", _) if value == 0 => Some(1),
        ("al-extents", _) => Some(value.clamp(spec.least as u64, spec.most as u64)),
        ("c-plan-ahead", _) => Some(value.min(spec.most as u64)),
        // The driver has a code of its own for it.
        ("resync-after", _) | (_, Kind::Flag) => Some(value),
        (_, Kind::Enum(words)) => words.iter().any(|(number, _)| u64::from(*number) == value).then_some(value),
        _ => i64::try_from(value).is_ok_and(|value| (spec.least..=spec.most).contains(&value)).then_some(value),
    }
}

/// Refuses a request that would change what is fixed while the object is configured.
fn no_invariant(attributes: Attributes<'_>, invariant: &[u16]) -> Result<(), ConfigError> {
    if invariant.iter().any(|number| attributes.find(*number).is_some()) {
        return Err(ConfigError::Invariant);
    }
    Ok(())
}

impl<const N: usize> Numbers<N> {
    /// The defaults of a table of `N` entries or more attributes than that are cut.
    pub fn defaults(table: &[Spec]) -> Self {
        let mut values = [0; N];
        for (value, spec) in values.iter_mut().zip(table) {
            *value = spec.default;
        }
        Self { values }
    }

    /// Value of the attribute `number`.
    pub fn get(&self, table: &[Spec], number: u16) -> u64 {
        table.iter().zip(&self.values).find(|(spec, _)| spec.number == number).map_or(0, |(_, value)| *value)
    }

    /// Changes the attribute `number`.
    pub fn set(&mut self, table: &[Spec], number: u16, new: u64) {
        if let Some((_, value)) = table.iter().zip(self.values.iter_mut()).find(|(spec, _)| spec.number == number) {
            *value = new;
        }
    }

    fn read(&mut self, table: &[Spec], attributes: Attributes<'_>) -> Result<(), ConfigError> {
        for attribute in attributes.flatten() {
            let named = |spec: &&Spec| spec.number == attribute.number && !spec.option.is_empty();
            let Some(spec) = table.iter().find(named) else { continue };
            let value = match spec.kind {
                Kind::Flag => u64::from(attribute.u8().ok_or(ConfigError::Value)? != 0),
                Kind::U32 | Kind::Enum(_) => u64::from(attribute.u32().ok_or(ConfigError::Value)?),
                Kind::S32 => i64::from(attribute.u32().ok_or(ConfigError::Value)? as i32) as u64,
                Kind::U64 => attribute.u64().ok_or(ConfigError::Value)?,
                Kind::Text(_) | Kind::Binary(_) => continue,
            };
            let value = admitted(spec, value).ok_or(ConfigError::Value)?;
            self.set(table, spec.number, value);
        }
        Ok(())
    }

    fn write_one(&self, spec: &Spec, value: u64, writer: &mut Writer<'_>) {
        match spec.kind {
            Kind::Flag => writer.u8(spec.number, value as u8),
            Kind::U32 | Kind::Enum(_) | Kind::S32 => writer.u32(spec.number, value as u32),
            Kind::U64 => writer.u64(spec.number, value),
            Kind::Text(_) | Kind::Binary(_) => {}
        }
    }
}

macro_rules! accessors {
    ($table:expr; $($(#[$doc:meta])* $name:ident: $type:ident = $number:expr;)*) => {
        $($(#[$doc])* pub fn $name(&self) -> $type { accessors!(@convert self.numbers.get($table, $number), $type) })*
    };
    (@convert $value:expr, bool) => { $value != 0 };
    (@convert $value:expr, $type:ident) => { $value as $type };
}

/// DISK_CONF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskConf {
    /// Path of the backing device.
    pub backing_device: FixedString<129>,
    /// Path of the metadata device.
    pub meta_device: FixedString<129>,
    /// -3 and -1 internal, -2 flexible external, else a slot.
    pub meta_index: i32,
    /// The options.
    pub numbers: Numbers<25>,
}

impl Default for DiskConf {
    fn default() -> Self {
        Self {
            backing_device: FixedString::new(),
            meta_device: FixedString::new(),
            meta_index: 0,
            numbers: Numbers::defaults(attributes::DISK_CONF),
        }
    }
}

impl DiskConf {
    /// Reads the container of an ATTACH (`required`: the three device attributes have to be there) or of a change (they must not be, nor what
    /// else is fixed) over the present values. After an error the values are a mix.
    pub fn read(&mut self, payload: &[u8], required: bool) -> Result<(), ConfigError> {
        let attributes = Attributes::new(payload);
        if !required {
            no_invariant(attributes, &[1, 2, 3, 4, 5])?;
        }
        let path = |number| attributes.find(number).map(|a| a.string().and_then(FixedString::from_bytes).ok_or(ConfigError::Value));
        let (backing, meta, index) = (path(1), path(2), attributes.find(3).and_then(|a| a.u32()));
        if required {
            self.backing_device = backing.ok_or(ConfigError::Missing)??;
            self.meta_device = meta.ok_or(ConfigError::Missing)??;
            self.meta_index = index.ok_or(ConfigError::Missing)? as i32;
        }
        self.numbers.read(attributes::DISK_CONF, attributes)
    }

    /// Writes all attributes.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.string(1, self.backing_device.as_bytes());
        writer.string(2, self.meta_device.as_bytes());
        writer.u32(3, self.meta_index as u32);
        for (spec, value) in attributes::DISK_CONF.iter().zip(self.numbers.values).skip(3) {
            self.numbers.write_one(spec, value, writer);
        }
    }

    accessors! { attributes::DISK_CONF;
        /// Size set by the administrator in sectors; 0: none.
        disk_sectors: u64 = 4;
        /// on-io-error.
        on_io_error: u32 = 6;
        /// fencing.
        fencing: u32 = 7;
        /// resync-rate in KiB/s.
        resync_rate_kib: u32 = 8;
        /// resync-after minor, -1 for none.
        resync_after: i32 = 9;
        /// al-extents.
        al_extents: u32 = 10;
        /// c-plan-ahead.
        plan_ahead_deciseconds: u32 = 11;
        /// c-delay-target.
        delay_target_deciseconds: u32 = 12;
        /// c-fill-target.
        fill_target_sectors: u32 = 13;
        /// c-max-rate in KiB/s.
        max_rate_kib: u32 = 14;
        /// c-min-rate in KiB/s.
        min_rate_kib: u32 = 15;
        /// disk-flushes.
        disk_flushes: bool = 17;
        /// disk-drain.
        disk_drain: bool = 18;
        /// md-flushes.
        md_flushes: bool = 19;
        /// disk-timeout.
        disk_timeout_deciseconds: u32 = 20;
        /// read-balancing.
        read_balancing: u32 = 21;
        /// al-updates.
        al_updates: bool = 23;
        /// discard-zeroes-if-aligned.
        discard_zeroes_if_aligned: bool = 24;
        /// rs-discard-granularity.
        rs_discard_granularity_bytes: u32 = 25;
    }
}

/// NET_CONF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NetConf {
    /// shared-secret, cram-hmac-alg, data-integrity-alg, verify-alg, csums-alg.
    texts: [FixedString<NAME_BYTES>; 5],
    /// The options.
    pub numbers: Numbers<31>,
}

impl Default for NetConf {
    fn default() -> Self {
        Self { texts: [FixedString::new(); 5], numbers: Numbers::defaults(attributes::NET_CONF) }
    }
}

impl NetConf {
    /// Reads the container over the present values.
    pub fn read(&mut self, payload: &[u8]) -> Result<(), ConfigError> {
        let attributes = Attributes::new(payload);
        for (number, place) in (1u16..).zip(self.texts.iter_mut()) {
            if let Some(attribute) = attributes.find(number) {
                *place = attribute.string().and_then(FixedString::from_bytes).ok_or(ConfigError::Value)?;
            }
        }
        self.numbers.read(attributes::NET_CONF, attributes)
    }

    /// The same for a change of options in force: without those of a single attempt to connect.
    pub fn read_change(&mut self, payload: &[u8]) -> Result<(), ConfigError> {
        no_invariant(Attributes::new(payload), &[25, 28])?;
        self.read(payload)
    }

    /// Writes all attributes; `secret`: with the shared secret.
    pub fn write(&self, writer: &mut Writer<'_>, secret: bool) {
        for (number, text) in (1u16..).zip(&self.texts) {
            let hidden = number == 1 && !secret;
            writer.string(number, if hidden { &[] } else { text.as_bytes() });
        }
        for (spec, value) in attributes::NET_CONF.iter().zip(self.numbers.values).skip(5) {
            self.numbers.write_one(spec, value, writer);
        }
    }

    /// Takes over verify-alg and csums-alg of the peer (CO-8); `false`: a name is too long, nothing changes.
    pub fn set_block_algorithms(&mut self, verify: &[u8], csums: &[u8]) -> bool {
        let (Some(verify), Some(csums)) = (FixedString::from_bytes(verify), FixedString::from_bytes(csums)) else { return false };
        [self.texts[3], self.texts[4]] = [verify, csums];
        true
    }

    fn text(&self, index: usize) -> &[u8] {
        self.texts.get(index).map_or(&[], |text| text.as_bytes())
    }

    /// shared-secret.
    pub fn shared_secret(&self) -> &[u8] {
        self.text(0)
    }
    /// cram-hmac-alg.
    pub fn cram_hmac_alg(&self) -> &[u8] {
        self.text(1)
    }
    /// data-integrity-alg.
    pub fn integrity_alg(&self) -> &[u8] {
        self.text(2)
    }
    /// verify-alg.
    pub fn verify_alg(&self) -> &[u8] {
        self.text(3)
    }
    /// csums-alg.
    pub fn csums_alg(&self) -> &[u8] {
        self.text(4)
    }

    accessors! { attributes::NET_CONF;
        /// 1 A, 2 B, 3 C.
        protocol: u32 = 6;
        /// connect-int.
        connect_int_seconds: u32 = 7;
        /// timeout.
        timeout_deciseconds: u32 = 8;
        /// ping-int.
        ping_int_seconds: u32 = 9;
        /// ping-timeout.
        ping_timeout_deciseconds: u32 = 10;
        /// sndbuf-size.
        sndbuf_bytes: u32 = 11;
        /// rcvbuf-size.
        rcvbuf_bytes: u32 = 12;
        /// ko-count; 0: never.
        ko_count: u32 = 13;
        /// max-buffers.
        max_buffers: u32 = 14;
        /// max-epoch-size.
        max_epoch_size: u32 = 15;
        /// after-sb-0pri.
        after_sb_0p: u32 = 17;
        /// after-sb-1pri.
        after_sb_1p: u32 = 18;
        /// after-sb-2pri.
        after_sb_2p: u32 = 19;
        /// rr-conflict.
        rr_conflict: u32 = 20;
        /// on-congestion.
        on_congestion: u32 = 21;
        /// congestion-fill; 0: none.
        congestion_fill_sectors: u32 = 22;
        /// congestion-extents.
        congestion_extents: u32 = 23;
        /// allow-two-primaries.
        two_primaries: bool = 24;
        /// discard-my-data.
        discard_my_data: bool = 25;
        /// tcp-cork.
        tcp_cork: bool = 26;
        /// always-asbp.
        always_asbp: bool = 27;
        /// tentative.
        tentative: bool = 28;
        /// use-rle.
        use_rle: bool = 29;
        /// csums-after-crash-only.
        csums_after_crash_only: bool = 33;
        /// socket-check-timeout; 0: as ping-timeout.
        socket_check_timeout_deciseconds: u32 = 34;
    }

    /// Forgets discard-my-data, which holds for one attempt (CO-6). A dry run goes on until it has its verdict: tried again without
    /// `tentative`, a lost attempt would connect in earnest.
    pub fn clear_one_shot(&mut self) {
        self.numbers.set(attributes::NET_CONF, 25, 0);
    }
}

/// RESOURCE_OPTS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ResourceOptions {
    /// cpu-mask as text.
    pub cpu_mask: FixedString<33>,
    /// on-no-data-accessible is suspend-io when not 0.
    pub on_no_data: u32,
}

impl ResourceOptions {
    /// Reads the container over the present values.
    pub fn read(&mut self, payload: &[u8]) -> Result<(), ConfigError> {
        let attributes = Attributes::new(payload);
        if let Some(attribute) = attributes.find(1) {
            self.cpu_mask = attribute.string().and_then(FixedString::from_bytes).ok_or(ConfigError::Value)?;
            super::cpu_mask::parse(self.cpu_mask.as_bytes(), |_| {}).map_err(|_| ConfigError::CpuMask)?;
        }
        if let Some(attribute) = attributes.find(2) {
            self.on_no_data = attribute.u32().ok_or(ConfigError::Value)?;
        }
        Ok(())
    }

    /// Writes all attributes.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.string(1, self.cpu_mask.as_bytes());
        writer.u32(2, self.on_no_data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(number: u16, value: u32) -> Vec<u8> {
        [&8u16.to_ne_bytes()[..], &number.to_ne_bytes(), &value.to_ne_bytes()].concat()
    }

    /// Issue 3, "what wrong input gets": every number of every table, one below and one above its range.
    #[test]
    fn discard_my_data_holds_once_and_a_dry_run_until_its_verdict() {
        let mut net = NetConf::default();
        net.numbers.set(attributes::NET_CONF, 25, 1);
        net.numbers.set(attributes::NET_CONF, 28, 1);
        net.clear_one_shot();
        assert!(!net.discard_my_data() && net.tentative());
    }

    #[test]
    fn values_out_of_range_are_refused_except_those_the_driver_clamps() {
        let clamped = ["resync-rate", "al-extents", "c-plan-ahead", "resync-after"];
        let mut tried = 0;
        for (table, is_disk) in [(attributes::DISK_CONF, true), (attributes::NET_CONF, false)] {
            for spec in table.iter().filter(|spec| spec.number > 5) {
                let (least, most) = match spec.kind {
                    Kind::U32 if !clamped.contains(&spec.option) => (spec.least, spec.most),
                    Kind::Enum(words) => (i64::from(words[0].0), i64::from(words[words.len() - 1].0)),
                    _ => continue,
                };
                let outcome = |value: i64| {
                    let payload = container(spec.number, value as u32);
                    if is_disk { DiskConf::default().read(&payload, false) } else { NetConf::default().read_change(&payload) }
                };
                assert_eq!((outcome(least), outcome(most)), (Ok(()), Ok(())), "{}", spec.option);
                assert_eq!(outcome(most + 1), Err(ConfigError::Value), "{}", spec.option);
                if least > 0 {
                    assert_eq!(outcome(least - 1), Err(ConfigError::Value), "{}", spec.option);
                }
                tried += 1;
            }
        }
        assert!(tried > 25, "{tried}");
        let mut disk = DiskConf::default();
        for (number, given, kept) in [(8, 0, 1), (10, 7, 67), (10, 70_000, 65_534), (11, 1000, 300)] {
            assert_eq!(disk.read(&container(number, given), false), Ok(()));
            assert_eq!(disk.numbers.get(attributes::DISK_CONF, number), kept);
        }
    }

    #[test]
    fn what_is_fixed_is_not_changed() {
        assert_eq!(DiskConf::default().read(&container(5, 1), false), Err(ConfigError::Invariant));
        let flag = [5, 0, 28, 0, 1, 0, 0, 0];
        assert_eq!(NetConf::default().read_change(&flag), Err(ConfigError::Invariant));
        assert_eq!(NetConf::default().read(&flag), Ok(()));
    }

    #[test]
    fn the_tables_have_one_number_for_each_option() {
        assert_eq!(attributes::DISK_CONF.len(), 25);
        assert_eq!(attributes::NET_CONF.len(), 31);
        let (disk, net) = (DiskConf::default(), NetConf::default());
        assert_eq!((disk.al_extents(), disk.resync_after(), disk.md_flushes()), (1237, -1, true));
        assert_eq!((net.protocol(), net.max_buffers(), net.use_rle()), (3, 2048, true));
    }

    #[test]
    fn options_survive_writing_and_reading() {
        let mut buffer = [0u8; 2048];
        let mut net = NetConf::default();
        net.texts[1] = FixedString::from_bytes(b"sha1").unwrap();
        net.numbers.set(attributes::NET_CONF, 8, 30);
        let mut writer = Writer::new(&mut buffer);
        net.write(&mut writer, true);
        let length = writer.finish().unwrap();
        let mut back = NetConf::default();
        back.read(&buffer[..length]).unwrap();
        assert_eq!(back, net);
        assert!(back.set_block_algorithms(b"md5", b"") && !back.set_block_algorithms(&[b'x'; 65], b""));
        assert_eq!((back.verify_alg(), back.csums_alg()), (&b"md5"[..], &b""[..]));
        let mut disk = DiskConf::default();
        assert_eq!(disk.read(&[], true), Err(ConfigError::Missing));
        disk.backing_device = FixedString::from_bytes(b"/dev/sda").unwrap();
        disk.meta_index = -3;
        let mut writer = Writer::new(&mut buffer);
        disk.write(&mut writer);
        let length = writer.finish().unwrap();
        let mut back = DiskConf::default();
        back.read(&buffer[..length], true).unwrap();
        assert_eq!(back, disk);
    }
}
