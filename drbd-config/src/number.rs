// SPDX-License-Identifier: GPL-2.0
//! Numbers with a suffix (config-and-cli.md section 1, "numbers' meaning").

use drbd_core::genl::attributes::Unit;

/// Bytes per step of a unit, as far as sizes are concerned.
pub const fn unit_size(unit: Unit) -> u64 {
    match unit {
        Unit::Sectors => 512,
        Unit::KibPerSecond => 1024,
        _ => 1,
    }
}

/// The letter printed behind numbers of a unit.
pub const fn unit_letter(unit: Unit) -> &'static str {
    match unit {
        Unit::Sectors => "s",
        Unit::KibPerSecond => "k",
        _ => "",
    }
}

/// The value of a text in steps of `unit`, rounded up; a text without suffix is in `unit` already.
/// Negative numbers wrap, as they always did, and fail every range. `None`: no number.
pub fn parse(text: &str, unit: Unit) -> Option<u64> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '-')
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(split);
    let value = match digits.strip_prefix('-') {
        Some(positive) => positive.parse::<u64>().ok()?.wrapping_neg(),
        None => digits.parse::<u64>().ok()?,
    };
    let own = unit_size(unit);
    let factor: u64 = match suffix {
        "" => return Some(value),
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        "s" => 512,
        _ => return None,
    };
    let bytes = u128::from(value) * u128::from(factor);
    u64::try_from(bytes.div_ceil(u128::from(own))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_convert_to_the_unit_of_the_option_rounding_up() {
        assert_eq!(parse("1M", Unit::Sectors), Some(2048));
        assert_eq!(parse("512s", Unit::KibPerSecond), Some(256));
        assert_eq!(parse("1s", Unit::KibPerSecond), Some(1));
        assert_eq!(parse("10240", Unit::KibPerSecond), Some(10240));
        assert_eq!(parse("0010", Unit::Seconds), Some(10));
        assert_eq!(parse("9999999G", Unit::Sectors), Some(20_971_517_902_848));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["abc", "1.5M", "", "1T", "5 0"] {
            assert_eq!(parse(text, Unit::One), None, "{text}");
        }
        assert_eq!(parse("-5", Unit::One), Some(18_446_744_073_709_551_611));
    }
}
