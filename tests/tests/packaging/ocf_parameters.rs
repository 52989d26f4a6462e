// SPDX-License-Identifier: GPL-2.0
//! The OCF agent's meta-data and what it says to wrong parameters (issue 4 line 5; config-and-cli.md section 17).

use crate::ocf::{expect, node, score, started};

#[test]
fn meta_data_names_every_parameter_and_action() {
    let bed = crate::bed::Bed::new();
    let outcome = bed.run("ocf/drbd", &["meta-data"]);
    assert_eq!(outcome.code, 0);
    let text = outcome.out;
    for name in [
        "drbd_resource",
        "drbdconf",
        "adjust_master_score",
        "stop_outdates_secondary",
        "ignore_missing_notifications",
        "wfc_timeout",
        "remove_master_score_if_peer_primary",
        "fail_promote_early_if_peer_primary",
        "unfence_if_all_uptodate",
        "unfence_extra_args",
        "require_drbd_module_version_ge",
        "require_drbd_module_version_lt",
        "connect_only_after_promote",
    ] {
        assert!(
            text.contains(&format!("<parameter name=\"{name}\"")),
            "{name}"
        );
    }
    assert!(text.contains("<content type=\"string\" default=\"0 10 1000 10000\"/>"));
    for action in [
        "name=\"start\" timeout=\"240\"",
        "name=\"reload\" timeout=\"30\"",
        "name=\"promote\" timeout=\"90\"",
        "name=\"demote\" timeout=\"90\"",
        "name=\"notify\" timeout=\"90\"",
        "name=\"stop\" timeout=\"100\"",
        "name=\"monitor\" timeout=\"20\" interval=\"20\" role=\"Slave\"",
        "name=\"monitor\" timeout=\"20\" interval=\"10\" role=\"Master\"",
        "name=\"meta-data\" timeout=\"5\"",
        "name=\"validate-all\"",
    ] {
        assert!(text.contains(&format!("<action {action}")), "{action}");
    }
    well_formed(&text);
}

/// Every tag is closed in order, and no bare `&` or `<` stands in the text.
fn well_formed(text: &str) {
    let mut open = Vec::new();
    for piece in text.split('<').skip(1) {
        let (tag, rest) = piece.split_once('>').expect("a closed tag");
        assert!(!rest.contains('>') && !rest.contains('&'), "{rest}");
        let name = tag
            .split([' ', '/'])
            .find(|word| !word.is_empty())
            .unwrap_or("");
        if tag.starts_with(['?', '!']) || tag.ends_with('/') {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn wrong_parameters_are_a_configuration_error() {
    for (name, value) in [
        ("drbd_resource", ""),
        ("drbd_resource", "r0;reboot"),
        ("drbd_resource", "r0 r1"),
        ("drbdconf", "/etc/$(reboot)"),
        ("adjust_master_score", "1 2 3"),
        ("adjust_master_score", "0 10 5 10000"),
        ("adjust_master_score", "a b c d"),
        ("require_drbd_module_version_ge", "8.4"),
        ("require_drbd_module_version_lt", "new"),
        ("CRM_meta_clone_max", "3"),
        ("CRM_meta_clone_node_max", "2"),
        ("CRM_meta_master_node_max", "2"),
        ("CRM_meta_promoted_node_max", "2"),
        ("CRM_meta_master_max", "3"),
        ("CRM_meta_promoted_max", "3"),
        ("CRM_meta_notify", "false"),
        // two Primaries, but the configuration does not allow them
        ("CRM_meta_promoted_max", "2"),
    ] {
        let mut bed = node();
        bed.set(&format!("OCF_RESKEY_{name}"), value);
        let outcome = expect(&bed, "start", 6);
        assert!(
            outcome.err.contains("ocf-exit-reason:"),
            "{name}={value}: {}",
            outcome.err
        );
        assert!(
            !outcome
                .calls
                .iter()
                .any(|call| call.contains("new-resource")),
            "{name}={value}"
        );
    }
}

#[test]
fn two_primaries_are_fine_when_drbd_allows_them() {
    for line in ["allow-two-primaries yes;", "allow-two-primaries;"] {
        let mut bed = node();
        bed.set("OCF_RESKEY_CRM_meta_master_max", "2");
        bed.file(
            "dump",
            &format!("resource r0 {{\n    net {{\n        {line}\n    }}\n}}\n"),
        );
        expect(&bed, "start", 0);
    }
    let mut bed = node();
    bed.set("OCF_RESKEY_CRM_meta_master_max", "2");
    bed.file("dump", "        allow-two-primaries no;\n");
    expect(&bed, "start", 6);
    let mut bed = node();
    bed.set("OCF_RESKEY_CRM_meta_notify", "false");
    bed.set("OCF_RESKEY_ignore_missing_notifications", "true");
    expect(&bed, "start", 0);
}

#[test]
fn what_is_missing_on_this_node_is_not_installed() {
    let mut bed = node();
    bed.set("OCF_RESKEY_drbdconf", "/no/such/file");
    expect(&bed, "start", 5);
    let mut bed = node();
    bed.stand_in(
        "drbdadm",
        "case $* in --version) echo DRBD_KERNEL_VERSION_CODE=0x000000 ;; esac",
    );
    bed.stand_in("modinfo", "exit 1");
    assert!(expect(&bed, "monitor", 5)
        .err
        .contains("neither loaded nor installed"));
    bed.stand_in(
        "drbdadm",
        "case $* in --version) echo DRBD_KERNEL_VERSION_CODE=0x09010b ;; esac",
    );
    expect(&bed, "start", 5);
    let mut bed = node();
    bed.set("OCF_RESKEY_require_drbd_module_version_lt", "8.4.11");
    expect(&bed, "start", 5);
    // not loaded, but installed: that will do
    let mut bed = node();
    bed.stand_in("modinfo", "echo 8.4.11");
    expect(&bed, "start", 0);
}

#[test]
fn an_unknown_resource_is_not_running_for_a_probe_and_an_error_otherwise() {
    let mut bed = node();
    bed.file("unknown", "");
    expect(&bed, "monitor", 7);
    let outcome = expect(&bed, "start", 5);
    assert_eq!(score(&outcome).as_deref(), Some("removed"));
    assert!(outcome
        .err
        .contains("ocf-exit-reason:DRBD resource r0 is not in"));
    bed.set("OCF_RESKEY_CRM_meta_interval", "10000");
    expect(&bed, "monitor", 5);
}

#[test]
fn stop_works_with_a_broken_configuration() {
    let bed = started();
    bed.file("unknown", "");
    assert!(expect(&bed, "stop", 0).called("drbdsetup down r0"));
    assert_eq!(bed.read("up"), "");
}

#[test]
fn a_stacked_resource_is_found() {
    let mut bed = node();
    bed.stand_in(
        "drbdadm",
        "case $* in --version) echo DRBD_KERNEL_VERSION_CODE=0x08040b ;;\n\
         *--stacked*sh-dev*) echo \"$bed/drbd0\" ;; *sh-dev*) exit 1 ;;\n\
         *--stacked*attach*) echo attached >\"$bed/up\" ;; esac",
    );
    let outcome = expect(&bed, "start", 0);
    assert!(outcome
        .calls
        .iter()
        .any(|call| call.ends_with("--stacked new-minor r0")));
}

#[test]
fn an_unknown_action_is_not_implemented() {
    let outcome = expect(&node(), "dance", 3);
    assert!(outcome.out.starts_with("usage: "));
}
