// SPDX-License-Identifier: GPL-2.0
//! Help texts: the list of commands, one command in short, one command as XML.

use super::commands::{Command, Operand, COMMANDS};
use super::options::{of_command, unit_name, unit_suffix};
use drbd_core::genl::attributes::{Kind, Spec};
use std::fmt::Write;

/// Columns of a terminal.
const WIDTH: usize = 80;
/// Columns of a name in the list of commands.
const NAME_WIDTH: usize = 20;

/// All commands, and at the end what was wrong, if anything.
pub fn general(program: &str, complaint: Option<&str>) -> String {
    let mut text = format!("\nUSAGE: {program} command device arguments options\n\nDevice is usually /dev/drbdX or /dev/drbd/X.\n\nCommands are:\n");
    for row in COMMANDS.chunks(3) {
        let names: String = row
            .iter()
            .map(|command| format!("{:<NAME_WIDTH$}", command.name))
            .collect();
        let _ = writeln!(text, "    {names}");
    }
    text.push_str("\nTo get more details about a command issue 'drbdsetup help cmd'.\n\n");
    if let Some(complaint) = complaint {
        let _ = writeln!(text, "\n{complaint}");
    }
    text
}

/// One command with its operands and options, broken at the width of a terminal.
pub fn of_command_text(program: &str, command: &Command) -> String {
    let mut words = vec![program.to_string(), command.name.to_string()];
    words.extend(
        command
            .operands
            .iter()
            .map(|operand| operand_text(*operand).to_string()),
    );
    words.extend(
        command
            .own
            .iter()
            .map(|(name, value)| format!("[--{name}{}]", if *value { "=..." } else { "" })),
    );
    words.extend(of_command(command).map(option_text));
    let mut text = "USAGE:\n".to_string();
    let mut column = 0;
    for word in words {
        if column > 0 && column + 1 + word.len() > WIDTH {
            text.push_str("\n   ");
            column = 3;
        }
        text.push(' ');
        text.push_str(&word);
        column += 1 + word.len();
    }
    text.push('\n');
    text
}

fn operand_text(operand: Operand) -> &'static str {
    match operand {
        Operand::Minor => "{minor}",
        Operand::Resource => "{resource}",
        Operand::Volume => "{volume}",
        Operand::Local => "[{af}:]{local_addr}[:{port}]",
        Operand::Peer => "[{af}:]{remote_addr}[:{port}]",
        Operand::Disk => "{lower_dev}",
        Operand::MetaDisk => "{meta_data_dev}",
        Operand::MetaIndex => "{meta_data_index}",
        Operand::Any => "{resource|minor|all}",
        Operand::AnyResource => "{resource|all}",
    }
}

fn option_text(spec: &Spec) -> String {
    let values = match spec.kind {
        Kind::Flag => "{yes|no}".to_string(),
        Kind::Enum(words) => {
            let words: Vec<&str> = words.iter().map(|(_, word)| *word).collect();
            format!("{{{}}}", words.join("|"))
        }
        Kind::Text(_) => "<str>".into(),
        Kind::Binary(_) => "[{af}:]{local_addr}[:{port}]".into(),
        Kind::U32 | Kind::S32 | Kind::U64 => format!("({} ... {})", spec.least, spec.most),
    };
    format!("[--{}={values}]", spec.option)
}

/// One command for programs that want to know its options.
pub fn xml(command: &Command) -> String {
    let mut text = format!("<command name=\"{}\">\n", command.name);
    for operand in command.operands {
        match operand {
            Operand::Any => group(&mut text, &["resource", "minor", "all"]),
            Operand::AnyResource => group(&mut text, &["resource", "all"]),
            other => {
                let _ = writeln!(text, "\t<argument>{}</argument>", other.name());
            }
        }
    }
    for (name, value) in command.own {
        let kind = if *value { "string" } else { "flag" };
        let _ = writeln!(
            text,
            "\t<option name=\"{name}\" type=\"{kind}\">\n\t</option>"
        );
    }
    for spec in of_command(command) {
        option_xml(&mut text, spec);
    }
    text.push_str("</command>\n");
    text
}

fn group(text: &mut String, names: &[&str]) {
    text.push_str("\t<group>\n");
    for name in names {
        let _ = writeln!(text, "\t\t<argument>{name}</argument>");
    }
    text.push_str("\t</group>\n");
}

fn option_xml(text: &mut String, spec: &Spec) {
    let kind = match spec.kind {
        Kind::Flag => "boolean",
        Kind::Enum(_) => "handler",
        Kind::Text(_) => "string",
        Kind::Binary(_) => "address",
        Kind::U32 | Kind::S32 | Kind::U64 => "numeric",
    };
    let _ = writeln!(text, "\t<option name=\"{}\" type=\"{kind}\">", spec.option);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "\t\t<{name}>{value}</{name}>");
    };
    match spec.kind {
        Kind::Flag => line("default", if spec.default != 0 { "yes" } else { "no" }),
        Kind::Enum(words) => words.iter().for_each(|(_, word)| line("handler", word)),
        Kind::Text(_) | Kind::Binary(_) => {}
        Kind::U32 | Kind::S32 | Kind::U64 => {
            line("min", &spec.least.to_string());
            line("max", &spec.most.to_string());
            line("default", &(spec.default as i64).to_string());
            line("unit_prefix", unit_suffix(spec).unwrap_or("1"));
            if !unit_name(spec).is_empty() {
                line("unit", unit_name(spec));
            }
        }
    }
    text.push_str("\t</option>\n");
}
