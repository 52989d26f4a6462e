// SPDX-License-Identifier: GPL-2.0
//! The OCF agent `ocf:linbit:drbd` (issue 4 lines 5 and 7; config-and-cli.md section 17): its
//! actions on a node that a stand-in for drbdadm and drbdsetup plays, in the sequences Pacemaker runs.

use crate::bed::{Bed, Outcome};

const AGENT: &str = "ocf/drbd";

/// A node with resource r0, down. Its state is in files of the bed: `up`, `role`, `disk`, `peer`, `pdsk`.
pub fn node() -> Bed {
    let mut bed = Bed::new();
    bed.file("drbd.conf", "");
    bed.file("drbd0", "");
    for (file, word) in [
        ("role", "Secondary"),
        ("disk", "UpToDate"),
        ("peer", "Unknown"),
        ("pdsk", "DUnknown"),
    ] {
        bed.file(file, word);
    }
    bed.stand_in("modprobe", "echo version >\"$bed/proc_drbd\"");
    bed.stand_in(
        "drbdadm",
        r#"state() { cat "$bed/$1"; }
        case $* in
        --version) echo DRBD_KERNEL_VERSION_CODE=0x08040b ;;
        *sh-dev*) [ ! -e "$bed/unknown" ] || exit 1; echo "$bed/drbd0" ;;
        *sh-mod-parms*) echo minor_count=32 ;;
        *dump*) cat "$bed/dump" 2>/dev/null ;;
        *new-minor*) [ -e "$bed/up" ] || echo new >"$bed/up" ;;
        *attach*) [ ! -e "$bed/no-attach" ] || exit 1; echo attached >"$bed/up" ;;
        *adjust*) [ ! -e "$bed/no-adjust" ] || exit 20 ;;
        *primary*) [ ! -e "$bed/no-primary" ] || exit "$(state no-primary)"; echo Primary >"$bed/role" ;;
        *secondary*) echo Secondary >"$bed/role" ;;
        *down*) rm -f "$bed/up"; echo Secondary >"$bed/role" ;;
        esac"#,
    );
    bed.stand_in(
        "drbdsetup",
        r#"case $* in
        'sh-status r0') case $(cat "$bed/up" 2>/dev/null) in
            new) echo _role=Secondary _peer= _disk=Diskless _pdsk=; echo _sh_status_process ;;
            attached) echo "_role=$(cat "$bed/role") _peer=$(cat "$bed/peer")"
                echo "_disk=$(cat "$bed/disk") _pdsk=$(cat "$bed/pdsk")"; echo _sh_status_process ;;
            esac ;;
        'down r0') rm -f "$bed/up" ;;
        esac"#,
    );
    bed.stand_in("crm_master", "");
    bed.stand_in("crm_resource", "cat \"$bed/located\" 2>/dev/null");
    bed.stand_in("uname", "echo node1");
    bed.set("OCF_RESKEY_drbd_resource", "r0");
    let conf = bed.path("drbd.conf").display().to_string();
    bed.set("OCF_RESKEY_drbdconf", &conf);
    bed.set("OCF_RESOURCE_INSTANCE", "p_r0");
    bed.set("OCF_RESKEY_CRM_meta_clone_max", "2");
    bed.set("OCF_RESKEY_CRM_meta_clone_node_max", "1");
    bed.set("OCF_RESKEY_CRM_meta_master_max", "1");
    bed.set("OCF_RESKEY_CRM_meta_master_node_max", "1");
    bed.set("OCF_RESKEY_CRM_meta_notify", "true");
    bed.set("OCF_RESKEY_CRM_meta_interval", "0");
    bed
}

/// A node that was started, connected to a Secondary peer with good data.
pub fn started() -> Bed {
    let bed = node();
    bed.file("proc_drbd", "version");
    bed.file("up", "attached");
    bed.file("peer", "Secondary");
    bed.file("pdsk", "UpToDate");
    bed
}

/// Runs an action, and shows everything if the exit code is another one.
pub fn expect(bed: &Bed, action: &str, code: i32) -> Outcome {
    let outcome = bed.run(AGENT, &[action]);
    assert_eq!(outcome.code, code, "{action}: {outcome:?}");
    outcome
}

/// The promotion score that a run set, "removed", or nothing.
pub fn score(outcome: &Outcome) -> Option<String> {
    let call = outcome.calls_of("crm_master").last()?.to_string();
    Some(match call.strip_prefix("crm_master -Q -l reboot -v ") {
        Some(value) => value.into(),
        None => {
            assert_eq!(call, "crm_master -l reboot -D");
            "removed".into()
        }
    })
}

#[test]
fn the_sequence_of_an_agent_test_ends_as_pacemaker_expects() {
    let mut bed = node();
    expect(&bed, "validate-all", 0);
    expect(&bed, "monitor", 7); // probe
    expect(&bed, "stop", 0); // stopping what does not run
    let start = expect(&bed, "start", 0);
    assert!(start.called("modprobe -s drbd minor_count=32"));
    assert_eq!(score(&start).as_deref(), Some("1000")); // the peer is not there
    expect(&bed, "start", 0); // starting what runs
    bed.set("OCF_RESKEY_CRM_meta_interval", "20000");
    expect(&bed, "monitor", 0);
    expect(&bed, "notify", 0);
    expect(&bed, "demote", 0); // demoting what is not promoted
    expect(&bed, "promote", 0);
    assert_eq!(score(&expect(&bed, "monitor", 8)).as_deref(), Some("10000"));
    expect(&bed, "promote", 0); // promoting what is promoted
    expect(&bed, "reload", 0);
    expect(&bed, "demote", 0);
    expect(&bed, "monitor", 0);
    let stop = expect(&bed, "stop", 0);
    assert_eq!(score(&stop).as_deref(), Some("removed"));
    expect(&bed, "monitor", 7);
    expect(&bed, "stop", 0);
    expect(&bed, "promote", 7);
    expect(&bed, "demote", 7);
    expect(&bed, "reload", 7);
}

#[test]
fn start_configures_in_the_order_of_the_reference() {
    let mut bed = node();
    bed.set("OCF_RESKEY_CRM_meta_notify_start_uname", "node1 node2");
    let outcome = expect(&bed, "start", 0);
    let conf = bed.path("drbd.conf").display().to_string();
    let lines: Vec<String> = outcome
        .calls_of("drbdadm -c")
        .iter()
        .map(|call| call.replace(&conf, "CONF"))
        .filter(|call| !call.contains(" sh-"))
        .collect();
    assert_eq!(
        lines.join("\n"),
        "drbdadm -c CONF check-resize r0\ndrbdadm -c CONF new-resource r0\ndrbdadm -c CONF new-minor r0\n\
         drbdadm -c CONF attach r0\ndrbdadm -c CONF --peer node2 adjust r0"
    );
    let device = bed.path("drbd0").display().to_string();
    assert!(outcome.called(&format!(
        "drbdsetup wait-connect {device} --wfc-timeout=5 --degr-wfc-timeout=5 --outdated-wfc-timeout=5"
    )));
    bed.set("OCF_RESKEY_wfc_timeout", "no");
    assert!(expect(&bed, "start", 0)
        .calls_of("drbdsetup wait-connect")
        .is_empty());
}

#[test]
fn start_fails_when_the_disk_cannot_be_attached() {
    let bed = node();
    bed.file("no-attach", "");
    let outcome = expect(&bed, "start", 1);
    let attempts = outcome
        .calls
        .iter()
        .filter(|call| call.contains(" attach "))
        .count();
    assert_eq!(attempts, 2);
    assert!(outcome.err.contains("ocf-exit-reason:"), "{}", outcome.err);
}

#[test]
fn promotion_gives_up_without_good_data_and_tries_on_otherwise() {
    let bed = started();
    bed.file("no-primary", "17");
    let outcome = expect(&bed, "promote", 1);
    assert_eq!(
        outcome
            .calls
            .iter()
            .filter(|c| c.contains(" primary "))
            .count(),
        1
    );
    // any other refusal is tried again until the cluster's time limit
    let mut bed = started();
    bed.file("no-primary", "11");
    bed.stand_in("sleep", "rm -f \"$bed/no-primary\"");
    expect(&bed, "promote", 0);
}

#[test]
fn an_early_failure_beside_a_primary_has_to_be_asked_for() {
    let mut bed = started();
    bed.file("peer", "Primary");
    bed.file("no-primary", "11");
    bed.set("OCF_RESKEY_fail_promote_early_if_peer_primary", "true");
    let outcome = expect(&bed, "promote", 1);
    assert!(!outcome.calls.iter().any(|call| call.contains(" primary ")));
}

#[test]
fn scores_follow_the_states_of_disks_and_peer() {
    for (role, disk, peer, pdsk, expected) in [
        (
            "Secondary",
            "UpToDate",
            "Secondary",
            "UpToDate",
            Some("10000"),
        ),
        (
            "Secondary",
            "UpToDate",
            "Secondary",
            "Inconsistent",
            Some("10000"),
        ),
        ("Primary", "UpToDate", "Unknown", "DUnknown", Some("10000")),
        ("Secondary", "UpToDate", "Unknown", "DUnknown", Some("1000")),
        (
            "Secondary",
            "UpToDate",
            "Unknown",
            "Outdated",
            Some("10000"),
        ),
        (
            "Secondary",
            "Inconsistent",
            "Primary",
            "UpToDate",
            Some("10"),
        ),
        ("Secondary", "Diskless", "Secondary", "UpToDate", Some("10")),
        ("Secondary", "Attaching", "Unknown", "DUnknown", None),
        ("Secondary", "Negotiating", "Secondary", "DUnknown", None),
        (
            "Secondary",
            "Consistent",
            "Unknown",
            "DUnknown",
            Some("removed"),
        ),
        (
            "Secondary",
            "Outdated",
            "Unknown",
            "DUnknown",
            Some("removed"),
        ),
        (
            "Secondary",
            "Inconsistent",
            "Unknown",
            "DUnknown",
            Some("removed"),
        ),
    ] {
        let mut bed = started();
        for (file, word) in [
            ("role", role),
            ("disk", disk),
            ("peer", peer),
            ("pdsk", pdsk),
        ] {
            bed.file(file, word);
        }
        bed.set("OCF_RESKEY_CRM_meta_interval", "20000");
        let outcome = expect(&bed, "monitor", if role == "Primary" { 8 } else { 0 });
        let place = format!("{role} {disk} {peer} {pdsk}");
        assert_eq!(score(&outcome).as_deref(), expected, "{place}");
    }
}

#[test]
fn scores_can_be_chosen_and_removed_beside_a_primary() {
    let mut bed = started();
    bed.set("OCF_RESKEY_adjust_master_score", "5 10 700 800");
    assert_eq!(score(&expect(&bed, "monitor", 0)).as_deref(), Some("800"));
    bed.file("disk", "Consistent");
    bed.file("pdsk", "DUnknown");
    assert_eq!(score(&expect(&bed, "monitor", 0)).as_deref(), Some("5"));
    let mut bed = started();
    bed.file("peer", "Primary");
    bed.set("OCF_RESKEY_remove_master_score_if_peer_primary", "true");
    assert_eq!(
        score(&expect(&bed, "monitor", 0)).as_deref(),
        Some("removed")
    );
    bed.set(
        "OCF_RESKEY_remove_master_score_if_peer_primary",
        "unexpected",
    );
    assert_eq!(
        score(&expect(&bed, "monitor", 0)).as_deref(),
        Some("removed")
    );
    bed.file("located", "resource p_r0 is running on: node2 Promoted\n");
    assert_eq!(score(&expect(&bed, "monitor", 0)).as_deref(), Some("10000"));
}

#[test]
fn notifications_adjust_at_a_start_and_set_the_score_afterwards() {
    for (kind, operation, adjusts, scores) in [
        ("pre", "start", true, false),
        ("post", "start", true, false),
        ("pre", "promote", false, false),
        ("post", "promote", false, true),
        ("post", "demote", false, true),
        ("post", "stop", false, true),
    ] {
        let mut bed = started();
        bed.set("OCF_RESKEY_CRM_meta_notify_type", kind);
        bed.set("OCF_RESKEY_CRM_meta_notify_operation", operation);
        bed.set("OCF_RESKEY_CRM_meta_notify_start_uname", "node2");
        let outcome = expect(&bed, "notify", 0);
        let adjusted = outcome
            .calls
            .iter()
            .any(|c| c.ends_with("--peer node2 adjust r0"));
        assert_eq!(
            (adjusted, score(&outcome).is_some()),
            (adjusts, scores),
            "{kind}-{operation}"
        );
    }
}

#[test]
fn connecting_can_be_put_off_until_a_node_is_promoted() {
    let mut bed = node();
    bed.set("OCF_RESKEY_connect_only_after_promote", "true");
    let adjusted = |outcome: &Outcome| outcome.calls.iter().any(|call| call.contains("adjust r0"));
    assert!(!adjusted(&expect(&bed, "start", 0)));
    bed.set("OCF_RESKEY_CRM_meta_notify_type", "post");
    bed.set("OCF_RESKEY_CRM_meta_notify_operation", "start");
    assert!(!adjusted(&expect(&bed, "notify", 0)));
    assert!(adjusted(&expect(&bed, "promote", 0)));
    bed.set("OCF_RESKEY_CRM_meta_notify_operation", "promote");
    assert!(adjusted(&expect(&bed, "notify", 0)));
}

#[test]
fn stop_can_outdate_a_secondary() {
    let mut bed = started();
    bed.set("OCF_RESKEY_stop_outdates_secondary", "true");
    bed.set("OCF_RESKEY_CRM_meta_notify_master_uname", "node2");
    assert!(expect(&bed, "stop", 0)
        .calls
        .iter()
        .any(|call| call.ends_with("outdate r0")));
    bed.file("up", "attached");
    bed.set("OCF_RESKEY_CRM_meta_notify_master_uname", "node1");
    assert!(!expect(&bed, "stop", 0)
        .calls
        .iter()
        .any(|call| call.ends_with("outdate r0")));
}

#[test]
fn the_monitor_of_a_primary_can_unfence() {
    let mut bed = started();
    bed.file("role", "Primary");
    let unfenced = |outcome: Outcome| outcome.calls.iter().any(|c| c.ends_with("unfence-peer r0"));
    assert!(!unfenced(expect(&bed, "monitor", 8)));
    bed.set("OCF_RESKEY_unfence_if_all_uptodate", "true");
    assert!(unfenced(expect(&bed, "monitor", 8)));
    bed.file("pdsk", "Inconsistent");
    assert!(!unfenced(expect(&bed, "monitor", 8)));
}
