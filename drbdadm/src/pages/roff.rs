// SPDX-License-Identifier: GPL-2.0
//! Writes a man page (the macros of man(7)).

/// A page that grows.
pub struct Page(String);

impl Page {
    /// Begins `name`(`section`).
    pub fn new(name: &str, section: u8, purpose: &str) -> Self {
        let mut page = Self(String::from(".\\\" SPDX-License-Identifier: GPL-2.0\n"));
        let version = super::VERSION;
        page.0.push_str(&format!(
            ".TH {} {section} \"\" \"drbd-rs {version}\" \"DRBD 8.4\"\n",
            escape(&name.to_uppercase())
        ));
        page.section("Name");
        page.0
            .push_str(&format!("{} \\- {}\n", escape(name), escape(purpose)));
        page
    }

    /// A heading.
    pub fn section(&mut self, title: &str) {
        self.0
            .push_str(&format!(".SH {}\n", escape(&title.to_uppercase())));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        self.0.push_str(&format!(".PP\n{}\n", line(text)));
    }

    /// A way to call the program: its name in bold, then words.
    pub fn synopsis(&mut self, name: &str, words: &str) {
        self.0.push_str(&format!(
            ".PP\n\\fB{}\\fR {}\n",
            escape(name),
            escape(words)
        ));
    }

    /// A term and what it means.
    pub fn item(&mut self, term: &str, rest: &str, text: &str) {
        let rest = if rest.is_empty() {
            String::new()
        } else {
            format!(" {}", escape(rest))
        };
        self.0.push_str(&format!(
            ".TP\n\\fB{}\\fR{rest}\n{}\n",
            escape(term),
            line(text)
        ));
    }

    /// More about the item before.
    pub fn more(&mut self, text: &str) {
        self.0.push_str(&format!(".br\n{}\n", line(text)));
    }

    /// Text as it is, in a fixed font.
    pub fn example(&mut self, text: &str) {
        self.0.push_str(".PP\n.RS 4\n.nf\n");
        for one in text.lines() {
            self.0.push_str(&line(one));
            self.0.push('\n');
        }
        self.0.push_str(".fi\n.RE\n");
    }

    /// The whole page.
    pub fn finish(self) -> String {
        self.0
    }
}

/// Text that roff takes as it is.
fn escape(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
}

/// The same where a line begins: a leading dot is no request.
fn line(text: &str) -> String {
    let escaped = escape(text);
    match escaped.starts_with('.') {
        true => format!("\\&{escaped}"),
        false => escaped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_roff_would_take_for_itself_is_escaped() {
        let mut page = Page::new("a-b", 5, "what's it");
        page.text(".so \\fBx");
        let text = page.finish();
        assert!(text.contains(".TH A\\-B 5 "), "{text}");
        assert!(text.contains("a\\-b \\- what\\(aqs it\n"), "{text}");
        assert!(text.contains(".PP\n\\&.so \\efBx\n"), "{text}");
    }
}
