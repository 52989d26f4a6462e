// SPDX-License-Identifier: GPL-2.0
//! Bash completion for drbdadm, drbdsetup and drbdmeta (config-and-cli.md section 19).

use crate::adm::args::GENERAL;
use crate::adm::commands::{Command, Options, Scope, COMMANDS};
use crate::{meta, setup};

/// Which resources a command is offered: those whose `role`, `dstate` or `cstate` begins with one of the words.
const FILTERS: &[(&str, &str, &str)] = &[
    ("primary", "role", "Secondary"),
    ("secondary", "role", "Primary"),
    ("attach", "dstate", "Diskless Unconfigured"),
    ("apply-al", "dstate", "Diskless Unconfigured"),
    ("detach", "dstate", "UpToDate Inconsistent Outdated"),
    ("disk-options", "dstate", "UpToDate Inconsistent Outdated"),
    ("outdate", "dstate", "UpToDate"),
    ("connect", "cstate", "StandAlone Unconfigured"),
    (
        "disconnect",
        "cstate",
        "Connected WFConnection VerifyT VerifyS",
    ),
    (
        "net-options",
        "cstate",
        "Connected WFConnection VerifyT VerifyS",
    ),
    ("verify", "cstate", "Connected"),
    ("invalidate-remote", "cstate", "Connected"),
    ("pause-sync", "cstate", "SyncSource SyncTarget"),
    ("resume-sync", "cstate", "PausedSyncS PausedSyncT"),
];

const FUNCTIONS: &str = r#"
# resources of which QUESTION (role, dstate, cstate) is answered with one of the words
__drbdadm_resources() {
	local question=$1 res state word; shift
	for res in $(drbdadm $stacked sh-resources 2>/dev/null); do
		if [ -z "$question" ]; then echo "$res"; continue; fi
		state=$(drbdadm $stacked "$question" "$res" 2>/dev/null | head -n 1)
		for word; do [ "${state%%/*}" != "$word" ] || echo "$res"; done
	done
}

__drbdadm() {
	local current=${COMP_WORDS[COMP_CWORD]} previous='' command='' stacked='' word index options
	[ "$COMP_CWORD" -lt 1 ] || previous=${COMP_WORDS[COMP_CWORD-1]}
	COMPREPLY=()
	for ((index = 1; index < COMP_CWORD; index++)); do
		word=${COMP_WORDS[index]}
		case $word in
		-S|--stacked) stacked=-S ;;
		-*) ;;
		*) if [ -z "$command" ] && __drbdadm_is_command "$word"; then command=$word; fi ;;
		esac
	done
	case $previous in
	-c|-t|--config-file|--config-to-test|-s|-m|-p|--drbdsetup|--drbdmeta|--drbd-proxy-ctl)
		compopt -o default 2>/dev/null
		return ;;
	esac
	if [ -z "$command" ]; then
		case $current in
		-*) COMPREPLY=($(compgen -W "$__drbdadm_general" -- "$current")) ;;
		*) COMPREPLY=($(compgen -W "$__drbdadm_commands" -- "$current")) ;;
		esac
		return
	fi
	case $current in
	-*)
		options=$(__drbdadm_options "$command")
		COMPREPLY=($(compgen -W "$options $__drbdadm_general" -- "$current"))
		case ${COMPREPLY[0]} in *=) compopt -o nospace 2>/dev/null ;; esac ;;
	*)
		__drbdadm_takes_names "$command" || return
		COMPREPLY=($(compgen -W "$(__drbdadm_names "$command")" -- "$current")) ;;
	esac
}

__drbdsetup() {
	local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
	COMPREPLY=()
	if [ "$COMP_CWORD" -le 1 ]; then
		COMPREPLY=($(compgen -W "$__drbdsetup_commands" -- "$current"))
		return
	fi
	case $current in
	-*)
		COMPREPLY=($(compgen -W "$(__drbdsetup_options "$command")" -- "$current"))
		case ${COMPREPLY[0]} in *=) compopt -o nospace 2>/dev/null ;; esac ;;
	*) COMPREPLY=($(compgen -W "$(__drbdadm_resources '') $(compgen -G '/dev/drbd[0-9]*')" -- "$current")) ;;
	esac
}

__drbdmeta() {
	local current=${COMP_WORDS[COMP_CWORD]}
	COMPREPLY=()
	case $current in
	-*) COMPREPLY=($(compgen -W "$__drbdmeta_options" -- "$current")) ;;
	*) COMPREPLY=($(compgen -W "v08 internal flex-external $__drbdmeta_commands" -- "$current")); compopt -o default 2>/dev/null ;;
	esac
}

complete -F __drbdadm drbdadm
complete -F __drbdsetup drbdsetup
complete -F __drbdmeta drbdmeta
"#;

/// The script.
pub fn script() -> String {
    let mut text = String::from("# SPDX-License-Identifier: GPL-2.0\n# bash completion for the tools of DRBD; made by drbd-pages\n# shellcheck shell=bash disable=SC2207,SC2086\n\n");
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let general: Vec<String> = GENERAL
        .iter()
        .flat_map(|(long, letter, takes)| {
            [
                format!("--{long}{}", if *takes { "=" } else { "" }),
                format!("-{letter}"),
            ]
        })
        .collect();
    text.push_str(&format!("__drbdadm_commands='{}'\n", names.join(" ")));
    text.push_str(&format!("__drbdadm_general='{}'\n", general.join(" ")));
    text.push_str(&format!(
        "__drbdsetup_commands='{}'\n",
        setup_names().join(" ")
    ));
    let meta_commands: Vec<&str> = meta::command_list().map(|(name, _)| name).collect();
    text.push_str(&format!(
        "__drbdmeta_commands='{}'\n",
        meta_commands.join(" ")
    ));
    let meta_options: Vec<String> = meta::OPTIONS
        .iter()
        .map(|(name, _, _)| format!("--{name}"))
        .collect();
    text.push_str(&format!(
        "__drbdmeta_options='{}'\n",
        meta_options.join(" ")
    ));
    text.push_str("\n__drbdadm_is_command() {\n\tcase \" $__drbdadm_commands \" in *\" $1 \"*) return 0 ;; esac\n\treturn 1\n}\n");
    let without: Vec<&str> = COMMANDS
        .iter()
        .filter(|command| command.scope == Scope::Nothing && command.name != "help")
        .map(|command| command.name)
        .collect();
    text.push_str(&format!(
        "\n__drbdadm_takes_names() {{\n\tcase $1 in {}) return 1 ;; esac\n}}\n",
        without.join("|")
    ));
    text.push_str("\n__drbdadm_names() {\n\tcase $1 in\n\thelp) echo \"$__drbdadm_commands\" ;;\n");
    for (command, question, words) in FILTERS {
        text.push_str(&format!(
            "\t{command}) __drbdadm_resources {question} {words} ;;\n"
        ));
    }
    text.push_str("\t*) __drbdadm_resources ''; echo all ;;\n\tesac\n}\n");
    text.push_str("\n__drbdadm_options() {\n\tcase $1 in\n");
    for command in COMMANDS {
        row(&mut text, command.name, &options(command));
    }
    text.push_str("\tesac\n}\n\n__drbdsetup_options() {\n\tcase $1 in\n");
    for command in setup::commands::COMMANDS {
        let own = command
            .own_options()
            .map(|(name, value)| option(name, *value));
        let more = setup::options::of_command(command).map(|spec| {
            let value = spec.kind != drbd_core::genl::attributes::Kind::Flag;
            option(spec.option, value)
        });
        row(
            &mut text,
            command.name,
            &own.chain(more).collect::<Vec<_>>(),
        );
    }
    text.push_str("\tesac\n}\n");
    text.push_str(FUNCTIONS);
    text
}

fn setup_names() -> Vec<&'static str> {
    setup::commands::COMMANDS
        .iter()
        .map(|command| command.name)
        .collect()
}

fn row(text: &mut String, name: &str, options: &[String]) {
    if !options.is_empty() {
        text.push_str(&format!("\t{name}) echo '{}' ;;\n", options.join(" ")));
    }
}

fn option(name: &str, value: bool) -> String {
    format!("--{name}{}", if value { "=" } else { "" })
}

fn options(command: &Command) -> Vec<String> {
    if matches!(command.options, Options::Any) {
        return meta::OPTIONS
            .iter()
            .map(|(name, _, value)| option(name, *value))
            .collect();
    }
    let known = command.known_options();
    known
        .iter()
        .chain(command.added)
        .map(|(name, value)| option(name, *value))
        .collect()
}
