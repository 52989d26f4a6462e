// SPDX-License-Identifier: GPL-2.0
//! The text of a dump, read back (grammar in metadata.md 10.3).

/// What a dump says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// Current, bitmap, two of history.
    pub uuids: [u64; 4],
    /// Flags of the superblock.
    pub flags: u32,
    /// Last agreed size in sectors.
    pub la_size: u64,
    /// Bytes a bit of the bitmap stands for.
    pub bytes_per_bit: u64,
    /// Identity of the device.
    pub device_uuid: u64,
    /// Limit of the peer in bytes.
    pub peer_max_bio_bytes: u64,
    /// Stripes of the activity log.
    pub stripes: u64,
    /// Blocks of 4 KiB per stripe.
    pub stripe_size_4k: u64,
    /// The bitmap: how many times a 64-bit word stands there.
    pub runs: Vec<(u64, u64)>,
}

const KEYWORDS: &[&str] = &[
    "version",
    "uuid",
    "flags",
    "la-size-sect",
    "bm-byte-per-bit",
    "device-uuid",
    "la-peer-max-bio-size",
    "al-stripes",
    "al-stripe-size-4k",
    "bm",
    "times",
];

/// Characters shown of a word that is not understood.
const SHOWN: usize = 20;
/// Words of the largest bitmap, 1 PiB of data.
const MAX_WORDS: u64 = 1 << 32;

const A_STRING: &str = "short quoted string (\"..up to 20 characters, no newline..\")";
const A_NUMBER: &str = "number ([0-9], up to 20 digits)";
const A_HEX8: &str = "an 8-digit hex number";
const A_HEX16: &str = "a 16-digit hex number";
const A_WORD_OF_BITMAP: &str = "repeat count, 16-digit hex number, or closing brace (})";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    Keyword(&'a str),
    Mark(char),
    Decimal(u64),
    Hex8(u32),
    Hex16(u64),
    Quoted(&'a str),
    /// Not a token; the line that explains it.
    Bad(String),
    /// Nothing can start like this.
    Strange(char),
    End,
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Scanner<'a> {
    fn skip(&mut self) {
        loop {
            let trimmed = self.rest.trim_start();
            let skipped = &self.rest[..self.rest.len() - trimmed.len()];
            self.line += skipped.matches('\n').count();
            self.rest = trimmed;
            if !trimmed.starts_with('#') {
                return;
            }
            self.rest = trimmed.find('\n').map_or("", |end| &trimmed[end..]);
        }
    }

    fn next(&mut self) -> Token<'a> {
        self.skip();
        let Some(first) = self.rest.chars().next() else {
            return Token::End;
        };
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.'".contains(c);
        let length = match first {
            '{' | '}' | ';' => 1,
            '"' => self.rest[1..]
                .find(['"', '\n'])
                .map_or(self.rest.len(), |end| end + 2),
            c if is_word(c) => self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len()),
            c => c.len_utf8(),
        };
        let (text, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        match first {
            '{' | '}' | ';' => Token::Mark(first),
            '"' => self.quoted(text),
            '0'..='9' => self.number(text),
            c if is_word(c) && KEYWORDS.contains(&text) => Token::Keyword(text),
            c if is_word(c) => self.bad("unknown token", text),
            c => Token::Strange(c),
        }
    }

    fn quoted(&self, text: &'a str) -> Token<'a> {
        let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
        match inner {
            Some(inner) if (1..=20).contains(&inner.len()) => Token::Quoted(inner),
            _ => self.bad("invalid string", text),
        }
    }

    fn number(&self, text: &'a str) -> Token<'a> {
        let hex = text
            .strip_prefix("0x")
            .map(|digits| (digits.len(), u64::from_str_radix(digits, 16)));
        match hex {
            Some((8, Ok(value))) => Token::Hex8(value as u32),
            Some((16, Ok(value))) => Token::Hex16(value),
            Some(_) => self.bad(
                "invalid hex number (only 8 or 16 hex digits accepted)",
                text,
            ),
            None if !text.bytes().all(|b| b.is_ascii_digit()) => self.bad("unknown token", text),
            None if text.len() > 19 => self.bad("number too big", text),
            None => text
                .parse()
                .map_or_else(|_| self.bad("number too big", text), Token::Decimal),
        }
    }

    fn bad(&self, why: &str, text: &str) -> Token<'a> {
        let shown: String = text.chars().take(SHOWN).collect();
        Token::Bad(format!("line {}: {why}: {shown} ...", self.line))
    }

    fn wrong(&self, expected: &str, got: &Token<'_>) -> String {
        let text = format!("Parse error in line {}: {expected} expected", self.line);
        match got {
            Token::Bad(why) => format!("{why}\n{text}"),
            Token::End => format!("{text}, but end of file encountered"),
            Token::Keyword(word) | Token::Quoted(word) => format!("{text}, not '{word}'"),
            Token::Mark(mark) => format!("{text}, not '{mark}'"),
            Token::Strange(c) => format!(
                "{text}; got invalid input character '\\x{:02x}' [{c}]",
                u32::from(*c)
            ),
            _ => format!("{text}, not some number"),
        }
    }

    fn expect(&mut self, wanted: &Token<'_>) -> Result<(), String> {
        let got = self.next();
        if got == *wanted {
            return Ok(());
        }
        let name = match wanted {
            Token::Mark(';') => "semicolon (;)".to_string(),
            Token::Mark('{') => "opening brace ({)".to_string(),
            Token::Mark(_) => "closing brace (})".to_string(),
            Token::Keyword(word) => format!("keyword '{word}'"),
            _ => "end of file".to_string(),
        };
        Err(self.wrong(&name, &got))
    }

    fn mark(&mut self, mark: char) -> Result<(), String> {
        self.expect(&Token::Mark(mark))
    }

    fn keyword(&mut self, word: &'static str) -> Result<(), String> {
        self.expect(&Token::Keyword(word))
    }

    fn hex16(&mut self) -> Result<u64, String> {
        match self.next() {
            Token::Hex16(value) => Ok(value),
            got => Err(self.wrong(A_HEX16, &got)),
        }
    }

    /// `NAME N;`
    fn field(&mut self, name: &'static str) -> Result<u64, String> {
        self.keyword(name)?;
        let value = match self.next() {
            Token::Decimal(value) => value,
            got => return Err(self.wrong(A_NUMBER, &got)),
        };
        self.mark(';')?;
        Ok(value)
    }
}

/// Reads the text of a dump. Errors name the line and what was expected.
pub fn parse(text: &str) -> Result<Dump, String> {
    let scanner = &mut Scanner {
        rest: text,
        line: 1,
    };
    let mut dump = Dump::default();
    scanner.keyword("version")?;
    match scanner.next() {
        Token::Quoted("v08") => {}
        Token::Quoted(other) => return Err(format!("dump is '{other}' you requested 'v08'.")),
        got => return Err(scanner.wrong(A_STRING, &got)),
    }
    scanner.mark(';')?;
    parse_uuids(scanner, &mut dump)?;
    dump.la_size = scanner.field("la-size-sect")?;
    dump.bytes_per_bit = scanner.field("bm-byte-per-bit")?;
    if dump.bytes_per_bit < 4096 || !dump.bytes_per_bit.is_power_of_two() {
        return Err(
            "Invalid value for bm-byte-per-bit: value must be a power-of-two multiple of 4096"
                .into(),
        );
    }
    scanner.keyword("device-uuid")?;
    dump.device_uuid = scanner.hex16()?;
    scanner.mark(';')?;
    dump.peer_max_bio_bytes = scanner.field("la-peer-max-bio-size")?;
    dump.stripes = scanner.field("al-stripes")?;
    dump.stripe_size_4k = scanner.field("al-stripe-size-4k")?;
    parse_bitmap(scanner, &mut dump)?;
    scanner.expect(&Token::End)?;
    Ok(dump)
}

fn parse_uuids(scanner: &mut Scanner<'_>, dump: &mut Dump) -> Result<(), String> {
    scanner.keyword("uuid")?;
    scanner.mark('{')?;
    for place in &mut dump.uuids {
        *place = scanner.hex16()?;
        scanner.mark(';')?;
    }
    scanner.keyword("flags")?;
    dump.flags = match scanner.next() {
        Token::Hex8(value) => value,
        got => return Err(scanner.wrong(A_HEX8, &got)),
    };
    scanner.mark(';')?;
    scanner.mark('}')
}

fn parse_bitmap(scanner: &mut Scanner<'_>, dump: &mut Dump) -> Result<(), String> {
    scanner.keyword("bm")?;
    scanner.mark('{')?;
    let mut words = 0u64;
    loop {
        let (count, value) = match scanner.next() {
            Token::Mark('}') => return Ok(()),
            Token::Hex16(value) => (1, value),
            Token::Decimal(count) => {
                scanner.keyword("times")?;
                (count, scanner.hex16()?)
            }
            got => return Err(scanner.wrong(A_WORD_OF_BITMAP, &got)),
        };
        scanner.mark(';')?;
        words = words.saturating_add(count);
        if words > MAX_WORDS {
            return Err(format!(
                "Parse error in line {}: the bitmap is larger than any device's",
                scanner.line
            ));
        }
        match dump.runs.last_mut() {
            Some((before, same)) if *same == value => *before += count,
            _ => dump.runs.push((count, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "# a comment\nversion \"v08\";\nuuid {\n 0x0000000000000004; 0x0000000000000003;\n\
        0x0000000000000002; 0x0000000000000001; flags 0x00000080; }\nla-size-sect 40000;\n\
        bm-byte-per-bit 4096;\ndevice-uuid 0x1234567812345678;\nla-peer-max-bio-size 4096;\n\
        al-stripes 1;\nal-stripe-size-4k 8;\nbm {\n # at 0kB\n\
        3 times 0xFFFFFFFFFFFFFFFF; 0xFFFFFFFFFFFFFFFF; 0x0000000000000001;\n}\n# end";

    #[test]
    fn a_dump_is_read_whatever_its_white_space() {
        let dump = parse(GOOD).expect("good");
        assert_eq!(dump.uuids, [4, 3, 2, 1]);
        assert_eq!(
            (dump.flags, dump.la_size, dump.device_uuid),
            (0x80, 40000, 0x1234_5678_1234_5678)
        );
        assert_eq!(dump.runs, [(4, u64::MAX), (1, 1)]);
        assert_eq!(
            parse(
                &GOOD
                    .replace('\n', " ")
                    .replace("# a comment", "")
                    .replace("# at 0kB", "")
                    .replace("# end", "")
            ),
            Ok(dump)
        );
    }

    #[test]
    fn errors_name_the_line_and_what_was_expected() {
        let table = [
            ("la-size-sect", "la-siz", "line 6: unknown token: la-siz ...\nParse error in line 6: keyword 'la-size-sect' expected"),
            ("40000;", "40000", "Parse error in line 7: semicolon (;) expected, not 'bm-byte-per-bit'"),
            ("40000;", "?", "Parse error in line 6: number ([0-9], up to 20 digits) expected; got invalid input character '\\x3f' [?]"),
            ("40000;", "12345678901234567890;", "line 6: number too big: 12345678901234567890 ...\nParse error in line 6: number ([0-9], up to 20 digits) expected"),
            ("0x1234567812345678", "0x0", "line 8: invalid hex number (only 8 or 16 hex digits accepted): 0x0 ...\nParse error in line 8: a 16-digit hex number expected"),
            ("0x1234567812345678", "0x12345678", "Parse error in line 8: a 16-digit hex number expected, not some number"),
            ("uuid {", "uuid", "Parse error in line 4: opening brace ({) expected, not some number"),
            ("\"v08\"", "\"v09\"", "dump is 'v09' you requested 'v08'."),
            ("\"v08\"", "v08", "line 2: unknown token: v08 ...\nParse error in line 2: short quoted string (\"..up to 20 characters, no newline..\") expected"),
            ("bit 4096", "bit 6144", "Invalid value for bm-byte-per-bit: value must be a power-of-two multiple of 4096"),
            ("\n}\n# end", "\n} foo", "line 15: unknown token: foo ...\nParse error in line 15: end of file expected"),
            ("\n}\n# end", "", "Parse error in line 14: repeat count, 16-digit hex number, or closing brace (}) expected, but end of file encountered"),
            ("3 times", "3 timez", "line 14: unknown token: timez ...\nParse error in line 14: keyword 'times' expected"),
            ("3 times", "9999999999 times", "Parse error in line 14: the bitmap is larger than any device's"),
        ];
        for (from, to, wanted) in table {
            assert_eq!(
                parse(&GOOD.replace(from, to)),
                Err(wanted.to_string()),
                "{to}"
            );
        }
        assert_eq!(
            parse(""),
            Err(
                "Parse error in line 1: keyword 'version' expected, but end of file encountered"
                    .into()
            )
        );
    }

    #[test]
    fn no_prefix_and_no_damaged_character_panics() {
        for end in 0..GOOD.len() {
            let _ = parse(&GOOD[..end]);
            for strange in ["\"", "é", "0x", "}", "\u{0}"] {
                let _ = parse(&format!("{}{strange}{}", &GOOD[..end], &GOOD[end + 1..]));
            }
        }
    }
}
