// SPDX-License-Identifier: GPL-2.0
//! From text to tokens (config-and-cli.md section 1): nom parsers under a cursor that knows lines and columns.

use crate::diagnostic::{Diagnostic, Position};
use crate::keywords::is_keyword;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1, take_while_m_n};
use nom::character::complete::{anychar, char, none_of};
use nom::combinator::{opt, recognize, verify};
use nom::multi::many0_count;
use nom::sequence::{pair, preceded, terminated};
use nom::{IResult, Parser};
use std::net::Ipv6Addr;

/// Longest bare word.
const WORD_MAX: usize = 128;
/// Longest quoted text; a protected character counts as one.
const QUOTED_MAX: usize = 255;
/// How much of a text is quoted in a message.
const SHOWN: usize = 20;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of `{ } ; [ ] :`.
    Mark,
    /// 1 to 8 digits with an optional suffix.
    Number,
    /// A bare word that is no keyword.
    Word,
    /// A quoted text.
    Quoted,
    /// Four groups of digits.
    Ipv4,
    /// An IPv6 address with an optional zone.
    Ipv6,
    /// A keyword.
    Keyword,
    /// Any other character.
    Other,
    /// End of the file.
    End,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Kind.
    pub kind: Kind,
    /// Text, without quotes.
    pub text: String,
    /// Where it begins.
    pub position: Position,
}

impl Token {
    /// It is this mark or keyword.
    pub fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Mark | Kind::Keyword) && self.text == text
    }

    /// It can name a resource or a host.
    pub fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Quoted)
    }

    /// For "found ..." in messages.
    pub fn shown(&self) -> String {
        match self.kind {
            Kind::End => "the end of the file".into(),
            _ => format!("'{}'", shorten(&self.text)),
        }
    }
}

/// The beginning of a text for messages.
pub fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if text.chars().count() > SHOWN {
        short.push_str("...");
    }
    short
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-".contains(c)
}

fn blanks(input: &str) -> IResult<&str, usize> {
    let space = take_while1(|c| " \t\r\n".contains(c));
    let comment = recognize(pair(char('#'), take_while(|c| c != '\n')));
    many0_count(alt((space, comment))).parse(input)
}

fn number(input: &str) -> IResult<&str, &str> {
    recognize(pair(
        take_while_m_n(1, 8, |c: char| c.is_ascii_digit()),
        opt(nom::character::complete::one_of("KMGs")),
    ))
    .parse(input)
}

fn ipv4(input: &str) -> IResult<&str, &str> {
    let group = || take_while_m_n(1, 3, |c: char| c.is_ascii_digit());
    recognize((
        group(),
        tag("."),
        group(),
        tag("."),
        group(),
        tag("."),
        group(),
    ))
    .parse(input)
}

fn ipv6(input: &str) -> IResult<&str, &str> {
    let address = verify(
        take_while1(|c: char| c.is_ascii_hexdigit() || c == ':' || c == '.'),
        |text: &str| text.contains(':') && text.parse::<Ipv6Addr>().is_ok(),
    );
    let zone = preceded(
        tag("%"),
        take_while1(|c: char| c.is_ascii_alphanumeric() || "._-".contains(c)),
    );
    recognize(pair(address, opt(zone))).parse(input)
}

fn word(input: &str) -> IResult<&str, &str> {
    take_while1(is_word_char).parse(input)
}

/// The inside of a quoted text, up to its end, the end of the line or of the file.
fn quoted_inside(input: &str) -> IResult<&str, &str> {
    let escaped = recognize(pair(char('\\'), none_of("\n")));
    let plain = recognize(none_of("\"\\\n"));
    recognize(many0_count(alt((escaped, plain)))).parse(input)
}

fn quoted(input: &str) -> IResult<&str, &str> {
    terminated(preceded(char('"'), quoted_inside), char('"')).parse(input)
}

/// The longest of the possible tokens; earlier kinds win a tie.
fn longest(input: &str) -> Option<(Kind, &str)> {
    let candidates = [
        (Kind::Number, number(input)),
        (Kind::Ipv4, ipv4(input)),
        (Kind::Ipv6, ipv6(input)),
        (Kind::Word, word(input)),
    ];
    let mut best: Option<(Kind, &str)> = None;
    for (kind, result) in candidates {
        let Ok((_, text)) = result else { continue };
        if best.is_none_or(|(_, known)| text.len() > known.len()) {
            best = Some((kind, text));
        }
    }
    best.map(|(kind, text)| {
        if kind == Kind::Word && is_keyword(text) {
            (Kind::Keyword, text)
        } else {
            (kind, text)
        }
    })
}

/// Reads tokens of one file.
#[derive(Debug)]
pub struct Lexer {
    text: String,
    offset: usize,
    file: String,
    line: u32,
    column: u32,
    peeked: Option<Token>,
}

impl Lexer {
    /// A scanner whose first line has the number `line`.
    pub fn new(file: &str, text: String, line: u32) -> Self {
        Self {
            text,
            offset: 0,
            file: file.into(),
            line,
            column: 1,
            peeked: None,
        }
    }

    /// The file as named.
    pub fn file(&self) -> &str {
        &self.file
    }

    fn rest(&self) -> &str {
        self.text.get(self.offset..).unwrap_or("")
    }

    fn position(&self) -> Position {
        Position {
            file: self.file.clone(),
            line: self.line,
            column: self.column,
        }
    }

    fn advance(&mut self, bytes: usize) {
        let passed = self
            .text
            .get(self.offset..self.offset + bytes)
            .unwrap_or("");
        for c in passed.chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.offset += bytes;
    }

    /// The next token without taking it.
    pub fn peek(&mut self) -> Result<&Token, Diagnostic> {
        let token = self.take()?;
        Ok(self.peeked.insert(token))
    }

    /// Takes the next token.
    pub fn take(&mut self) -> Result<Token, Diagnostic> {
        if let Some(token) = self.peeked.take() {
            return Ok(token);
        }
        let before = self.rest().len();
        let after = blanks(self.rest()).map_or(before, |(rest, _)| rest.len());
        self.advance(before - after);
        let position = self.position();
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(Token {
                kind: Kind::End,
                text: String::new(),
                position,
            });
        }
        if rest.starts_with('"') {
            return self.quoted_token(position);
        }
        let (kind, text) = match longest(rest) {
            Some((kind, text)) => (kind, text.to_string()),
            None => self.single(),
        };
        if matches!(kind, Kind::Word | Kind::Keyword) && text.len() > WORD_MAX {
            let shown = shorten(&text);
            return Err(Diagnostic::error(
                &position,
                format!("the word '{shown}' is longer than {WORD_MAX} characters"),
            ));
        }
        self.advance(text.len());
        Ok(Token {
            kind,
            text,
            position,
        })
    }

    fn single(&self) -> (Kind, String) {
        let parsed: IResult<&str, char> = anychar.parse(self.rest());
        let c = parsed.map_or('?', |(_, c)| c);
        (
            if "{};[]:".contains(c) {
                Kind::Mark
            } else {
                Kind::Other
            },
            c.to_string(),
        )
    }

    fn quoted_token(&mut self, position: Position) -> Result<Token, Diagnostic> {
        let Ok((left, inside)) = quoted(self.rest()) else {
            let shown = shorten(self.rest().lines().next().unwrap_or(""));
            let text = format!("the quoted text that begins with {shown} does not end in its line; a line break cannot be quoted");
            return Err(Diagnostic::error(&position, text));
        };
        let length = self.rest().len() - left.len();
        let text = unescape(inside);
        if text.chars().count() > QUOTED_MAX {
            let shown = shorten(&text);
            return Err(Diagnostic::error(
                &position,
                format!("the quoted text '{shown}' is longer than {QUOTED_MAX} characters"),
            ));
        }
        self.advance(length);
        Ok(Token {
            kind: Kind::Quoted,
            text,
            position,
        })
    }

    /// Passes over the rest of a balanced block whose `{` was taken; `false`: the file ends before.
    pub fn skip_block(&mut self) -> Result<bool, Diagnostic> {
        let mut depth = 1u32;
        while depth > 0 {
            let token = self.take()?;
            if token.kind == Kind::End {
                return Ok(false);
            } else if token.is("{") {
                depth += 1;
            } else if token.is("}") {
                depth -= 1;
            }
        }
        Ok(true)
    }
}

fn unescape(inside: &str) -> String {
    let mut text = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Vec<(Kind, String)> {
        let mut lexer = Lexer::new("t", text.into(), 1);
        let mut found = Vec::new();
        loop {
            let token = lexer.take().expect("token");
            if token.kind == Kind::End {
                return found;
            }
            found.push((token.kind, token.text));
        }
    }

    #[test]
    fn the_longest_match_wins_and_keywords_win_ties() {
        for (text, kind) in [
            ("10240", Kind::Number),
            ("20G", Kind::Number),
            ("8k", Kind::Word),
            ("123456789", Kind::Word),
            ("10.1.1.31", Kind::Ipv4),
            ("fe80::1%eth0", Kind::Ipv6),
            ("::ffff:192.168.22.11", Kind::Ipv6),
            ("disk", Kind::Keyword),
            ("disk-timeout", Kind::Keyword),
            ("disk-thing", Kind::Word),
            ("/dev/sda7", Kind::Word),
            ("\"disk\"", Kind::Quoted),
            ("!", Kind::Other),
        ] {
            let found = scan(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(found[0].0, kind, "{text}");
        }
        assert_eq!(scan("10.1.1.31:7789;").len(), 4);
        assert_eq!(scan("[::1]:7;").len(), 6);
    }

    #[test]
    fn comments_and_escapes() {
        assert_eq!(
            scan("# a \"b\n\"a \\\"q\\\" b\\\\s # {\"#x"),
            [(Kind::Quoted, "a \"q\" b\\s # {".to_string())]
        );
    }

    #[test]
    fn limits_and_open_quotes_are_errors_with_a_place() {
        let long = "x".repeat(129);
        for (text, part) in [
            (long.as_str(), "longer than 128"),
            ("\n  \"abc\ndef\"", "line break"),
            ("\"abc", "does not end"),
        ] {
            let error = Lexer::new("t", text.into(), 1).take().expect_err("refused");
            assert!(error.text.contains(part), "{error}");
        }
        let error = Lexer::new("t", "\n  \"abc\n".into(), 1)
            .take()
            .expect_err("refused");
        assert_eq!(error.position.map(|p| (p.line, p.column)), Some((2, 3)));
        assert!(Lexer::new("t", "x".repeat(128), 1).take().is_ok());
    }
}
