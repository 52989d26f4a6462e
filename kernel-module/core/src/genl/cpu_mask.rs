// SPDX-License-Identifier: GPL-2.0
//! The text form of cpu-mask: hexadecimal digits, the lowest processors last; commas may separate groups of at most eight digits, as the
//! kernel writes masks itself.

/// Not a mask. The administrator is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadMask;

/// Digits between two commas.
const GROUP: u32 = 8;

/// Calls `set` for each processor in the mask, the lowest first. Nothing for an empty text. Numbers the machine does not have are the
/// caller's to drop.
///
/// # Errors
/// [`BadMask`]: something else than digits, or an empty or overlong group. `set` may have been called before.
pub fn parse(text: &[u8], mut set: impl FnMut(usize)) -> Result<(), BadMask> {
    if text.is_empty() {
        return Ok(());
    }
    // Groups are 32 bits wide, whatever number of digits stands in them.
    let (mut group_start, mut in_group) = (0usize, 0u32);
    for byte in text.iter().rev() {
        if *byte == b',' {
            if in_group == 0 {
                return Err(BadMask);
            }
            group_start = group_start.saturating_add(32);
            in_group = 0;
            continue;
        }
        let digit = (*byte as char).to_digit(16).ok_or(BadMask)?;
        if in_group == GROUP {
            return Err(BadMask);
        }
        for bit in (0..4).filter(|bit| digit >> bit & 1 != 0) {
            set(group_start.saturating_add(4 * in_group as usize + bit));
        }
        in_group += 1;
    }
    if in_group == 0 {
        return Err(BadMask);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processors(text: &str) -> Result<Vec<usize>, BadMask> {
        let mut all = Vec::new();
        parse(text.as_bytes(), |cpu| all.push(cpu)).map(|()| all)
    }

    #[test]
    fn digits_count_from_the_right_and_groups_have_32_bits() {
        assert_eq!(processors(""), Ok(vec![]));
        assert_eq!(processors("0"), Ok(vec![]));
        assert_eq!(processors("5"), Ok(vec![0, 2]));
        assert_eq!(processors("A1"), Ok(vec![0, 5, 7]));
        assert_eq!(processors("1,00000002"), Ok(vec![1, 32]));
        assert_eq!(processors("1,2"), Ok(vec![1, 32]));
    }

    #[test]
    fn what_is_no_mask_is_refused() {
        for text in ["x", "0x3", ",1", "1,", "1,,1", "123456789", " 1", "-1"] {
            assert_eq!(processors(text), Err(BadMask), "{text}");
        }
    }
}
