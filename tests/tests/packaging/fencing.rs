// SPDX-License-Identifier: GPL-2.0
//! The handlers that fence a peer (issue 4 line 5; config-and-cli.md section 18): exit codes and
//! constraint by what the cluster and the disks look like.

use crate::bed::{Bed, Outcome};

const SCRIPT: &str = "handlers/crm-fence-peer";
const CONSTRAINT: &str = r##"<rsc_location rsc="ms_r0" id="drbd-fence-by-handler-r0-ms_r0">
  <rule role="Master" score="-INFINITY" id="drbd-fence-by-handler-r0-rule-ms_r0">
    <expression attribute="#uname" operation="ne" value="node1" id="drbd-fence-by-handler-r0-expr-ms_r0"/>
  </rule>
</rsc_location>"##;

struct Cluster {
    /// in_ccm, crmd, join and expected of the peer.
    peer: [&'static str; 4],
    stonith: bool,
    constraints: String,
    clone: &'static str,
}

const ONLINE: [&str; 4] = ["true", "online", "member", "member"];
const ONLINE_BY_TIME: [&str; 4] = ["1732178000", "1732178001", "member", "member"];
const FENCED: [&str; 4] = ["false", "offline", "down", "down"];
const FENCED_BY_TIME: [&str; 4] = ["0", "0", "down", "down"];
const JOINING: [&str; 4] = ["true", "online", "down", "member"];
const UNCLEAN: [&str; 4] = ["false", "offline", "down", "member"];
const HUNG: [&str; 4] = ["true", "offline", "down", "member"];

const MASTER: &str = r#"<master id="ms_r0"><primitive class="ocf" id="p_r0" provider="linbit" type="drbd">
  <instance_attributes id="ia"><nvpair id="nv" name="drbd_resource" value="r0"/></instance_attributes></primitive></master>"#;
const CLONE: &str = r#"<clone id="other"><primitive id="p_x"><instance_attributes id="ib"><nvpair id="nw" name="drbd_resource" value="x"/>
  </instance_attributes></primitive></clone><clone id="ms_r0"><meta_attributes id="m"><nvpair name="promotable" value="true" id="mp"/></meta_attributes>
  <primitive class="ocf" id="p_r0" provider="linbit" type="drbd"><instance_attributes id="ia">
  <nvpair id="nv" value="r0" name="drbd_resource"/></instance_attributes></primitive></clone>"#;
const TEMPLATE: &str = r#"<template id="t"><instance_attributes id="ia"><nvpair id="nv" name="drbd_resource" value="r0"/></instance_attributes>
  </template><clone id="ms_r0"><primitive id="p_r0" template="t"/></clone>"#;

impl Cluster {
    fn with(peer: [&'static str; 4]) -> Self {
        Self {
            peer,
            stonith: false,
            constraints: String::new(),
            clone: CLONE,
        }
    }

    fn text(&self) -> String {
        let [ccm, crmd, join, expected] = self.peer;
        format!(
            r#"<cib have-quorum="1"><configuration><crm_config><cluster_property_set id="o"><nvpair id="o1" name="stonith-enabled" value="{}"/>
  </cluster_property_set></crm_config><nodes><node id="1" uname="node1"/><node id="2" uname="node2"/></nodes>
  <resources>{}</resources><constraints>{}</constraints></configuration>
  <status><node_state id="1" uname="node1" in_ccm="true" crmd="online" join="member" expected="member"/>
  <node_state id="2" uname="node2" in_ccm="{ccm}" crmd="{crmd}" join="{join}" expected="{expected}"/></status></cib>"#,
            self.stonith, self.clone, self.constraints
        )
    }
}

fn bed(cluster: &Cluster, disks: &[(u32, &str)]) -> Bed {
    let mut bed = Bed::new();
    bed.file("cib", &cluster.text());
    let rows: String = disks
        .iter()
        .map(|(minor, ds)| {
            format!(
                "{minor:2}: cs:WFConnection ro:Primary/Unknown ds:{ds} C r-----\n    ns:0 oos:0\n"
            )
        })
        .collect();
    bed.file(
        "proc_drbd",
        &format!("version: 8.4.11 (api:1/proto:86-101)\nsrcversion: X\n{rows}"),
    );
    bed.stand_in(
        "cibadmin",
        "case $1 in -Q*) cat \"$bed/cib\" ;; -C) [ ! -e \"$bed/refuse\" ] || exit 1 ;; esac",
    );
    bed.stand_in(
        "crmadmin",
        "case $* in *-S*) cat \"$bed/answer\" 2>/dev/null || echo 'Controller on node2 in state S_NOT_DC: ok' ;; esac",
    );
    bed.stand_in("uname", "echo node1");
    bed.set("DRBD_RESOURCE", "r0");
    bed.set("DRBD_PEER", "node2");
    let minors: Vec<String> = disks.iter().map(|(minor, _)| minor.to_string()).collect();
    bed.set("DRBD_MINOR", &minors.join(" "));
    bed
}

fn fence(bed: &Bed) -> Outcome {
    bed.run_as(SCRIPT, "crm-fence-peer.sh", &[])
}

fn placed(outcome: &Outcome) -> bool {
    !outcome.calls_of("cibadmin -C").is_empty()
}

#[test]
fn fencing_answers_as_recorded_for_every_view_of_the_peer() {
    for (peer, ds, code, constraint) in [
        (ONLINE, "UpToDate/UpToDate", 1, false),
        (UNCLEAN, "UpToDate/UpToDate", 1, false),
        (ONLINE, "UpToDate/DUnknown", 4, true),
        (ONLINE_BY_TIME, "UpToDate/DUnknown", 4, true),
        (ONLINE, "Consistent/DUnknown", 4, true),
        (JOINING, "UpToDate/DUnknown", 4, true),
        (ONLINE, "Outdated/DUnknown", 5, false),
        (FENCED, "UpToDate/DUnknown", 7, true),
        (FENCED_BY_TIME, "UpToDate/DUnknown", 7, true),
        (FENCED, "Consistent/DUnknown", 5, false),
        (FENCED, "Outdated/DUnknown", 5, false),
        (UNCLEAN, "UpToDate/DUnknown", 5, true),
        (UNCLEAN, "Consistent/DUnknown", 5, false),
        (HUNG, "UpToDate/DUnknown", 5, true),
    ] {
        let bed = bed(&Cluster::with(peer), &[(3, ds)]);
        let outcome = fence(&bed);
        assert_eq!(
            (outcome.code, placed(&outcome)),
            (code, constraint),
            "{peer:?} {ds}: {outcome:?}"
        );
    }
}

#[test]
fn the_constraint_is_the_one_users_know() {
    for clone in [MASTER, CLONE, TEMPLATE] {
        let mut cluster = Cluster::with(ONLINE);
        cluster.clone = clone;
        let bed = bed(&cluster, &[(0, "UpToDate/DUnknown")]);
        let outcome = fence(&bed);
        assert_eq!(outcome.code, 4, "{outcome:?}");
        let all = outcome.calls.join("\n");
        assert!(
            all.contains(&format!("cibadmin -C -o constraints -X {CONSTRAINT}")),
            "{all}"
        );
    }
}

#[test]
fn every_volume_counts() {
    let cluster = Cluster::with(ONLINE);
    let outcome = fence(&bed(
        &cluster,
        &[(0, "UpToDate/DUnknown"), (1, "Outdated/DUnknown")],
    ));
    assert_eq!((outcome.code, placed(&outcome)), (5, false));
    let outcome = fence(&bed(
        &cluster,
        &[(0, "UpToDate/UpToDate"), (1, "UpToDate/DUnknown")],
    ));
    assert_eq!((outcome.code, placed(&outcome)), (4, true));
}

#[test]
fn an_online_peer_whose_controller_is_silent_counts_as_unreachable() {
    let bed = bed(&Cluster::with(ONLINE), &[(0, "UpToDate/DUnknown")]);
    bed.file("answer", "Status of node2: unknown (error)\n");
    assert_eq!(fence(&bed).code, 5);
}

#[test]
fn with_fencing_devices_it_waits_for_the_shot() {
    let mut cluster = Cluster::with(UNCLEAN);
    cluster.stonith = true;
    let mut bed = bed(&cluster, &[(0, "UpToDate/DUnknown")]);
    let shot = Cluster {
        peer: FENCED,
        ..cluster
    };
    bed.file("later", &shot.text());
    bed.stand_in("sleep", "mv \"$bed/later\" \"$bed/cib\"");
    let outcome = fence(&bed);
    assert_eq!((outcome.code, placed(&outcome)), (7, true), "{outcome:?}");
}

#[test]
fn a_peer_that_is_never_shot_ends_the_wait() {
    let mut cluster = Cluster::with(UNCLEAN);
    cluster.stonith = true;
    let mut bed = bed(&cluster, &[(0, "UpToDate/DUnknown")]);
    bed.stand_in("sleep", "/bin/sleep 1");
    let outcome = bed.run_as(SCRIPT, "crm-fence-peer.sh", &["--timeout", "2"]);
    assert_eq!((outcome.code, placed(&outcome)), (5, true));
}

#[test]
fn an_existing_constraint_decides() {
    let mut cluster = Cluster::with(ONLINE);
    cluster.constraints = CONSTRAINT.into();
    let outcome = fence(&bed(&cluster, &[(0, "UpToDate/DUnknown")]));
    assert_eq!((outcome.code, placed(&outcome)), (4, false));
    // the peer was faster: it alone may be promoted
    cluster.constraints = CONSTRAINT.replace("node1", "node2");
    let outcome = fence(&bed(&cluster, &[(0, "UpToDate/DUnknown")]));
    assert_eq!((outcome.code, placed(&outcome)), (1, false));
}

#[test]
fn without_cluster_clone_or_constraint_the_peer_is_not_fenced() {
    let mut lonely = bed(&Cluster::with(ONLINE), &[(0, "UpToDate/DUnknown")]);
    lonely.stand_in("cibadmin", "exit 1");
    assert_eq!(fence(&lonely).code, 1);
    let mut cluster = Cluster::with(ONLINE);
    cluster.clone = "";
    assert_eq!(fence(&bed(&cluster, &[(0, "UpToDate/DUnknown")])).code, 1);
    let refused = bed(&Cluster::with(ONLINE), &[(0, "UpToDate/DUnknown")]);
    refused.file("refuse", "");
    assert_eq!(fence(&refused).code, 1);
    let mut nameless = bed(&Cluster::with(ONLINE), &[(0, "UpToDate/DUnknown")]);
    nameless.set("DRBD_PEER", "");
    assert_eq!(fence(&nameless).code, 1);
    nameless.set("DRBD_RESOURCE", "");
    assert_eq!(fence(&nameless).code, 1);
}

#[test]
fn unfencing_removes_the_constraint_when_all_data_is_good() {
    let unfence = |bed: &Bed| bed.run_as(SCRIPT, "crm-unfence-peer.sh", &[]);
    let mut cluster = Cluster::with(ONLINE);
    let outcome = unfence(&bed(&cluster, &[(0, "UpToDate/UpToDate")]));
    assert_eq!(
        (outcome.code, outcome.calls_of("cibadmin").len()),
        (0, 1),
        "nothing to do"
    );
    cluster.constraints = CONSTRAINT.into();
    let outcome = unfence(&bed(&cluster, &[(0, "UpToDate/UpToDate")]));
    assert_eq!(outcome.code, 0);
    assert!(outcome.called(
        "cibadmin -D -X <rsc_location rsc=\"ms_r0\" id=\"drbd-fence-by-handler-r0-ms_r0\"/>"
    ));
    let outcome = unfence(&bed(&cluster, &[(0, "UpToDate/Inconsistent")]));
    assert_eq!(outcome.code, 1);
    assert!(outcome.calls_of("cibadmin -D").is_empty());
    // asked by the agent: only what this node placed
    cluster.constraints = CONSTRAINT.replace("node1", "node2");
    let mut bed = bed(&cluster, &[(0, "UpToDate/UpToDate")]);
    bed.set(
        "OCF_RESKEY_unfence_extra_args",
        "--quiet --flock-required --flock-timeout 0 --unfence-only-if-owner-match",
    );
    let outcome = unfence(&bed);
    assert_eq!(
        (outcome.code, outcome.calls_of("cibadmin -D").len()),
        (0, 0)
    );
}

#[test]
fn outdate_peer_translates_the_answer_of_the_peer() {
    for (answer, code) in [(0, 4), (5, 3), (17, 6), (255, 5), (1, 5)] {
        let mut bed = Bed::new();
        bed.stand_in("ssh", &format!("exit {answer}"));
        bed.set("DRBD_RESOURCE", "r0");
        bed.set("DRBD_PEER", "node2");
        let outcome = bed.run(
            "handlers/outdate-peer",
            &[
                "on", "node1", "10.0.0.1", "on", "node2", "10.0.0.2", "10.1.0.2",
            ],
        );
        assert_eq!(outcome.code, code);
        assert!(outcome.calls[0].ends_with("10.0.0.2 drbdadm outdate r0"));
        assert_eq!(
            outcome.calls.len(),
            if code == 5 { 2 } else { 1 },
            "the second address is tried"
        );
    }
    assert_eq!(Bed::new().run("handlers/outdate-peer", &[]).code, 1);
}

#[test]
fn stonith_admin_shoots_the_peer() {
    let mut bed = Bed::new();
    bed.stand_in("stonith_admin", "");
    bed.set("DRBD_PEERS", "node2");
    let outcome = bed.run("handlers/stonith_admin-fence-peer", &[]);
    assert_eq!(outcome.code, 7);
    assert!(outcome.calls[0].contains("--fence node2"));
    bed.stand_in("stonith_admin", "exit 1");
    assert_eq!(bed.run("handlers/stonith_admin-fence-peer", &[]).code, 1);
}
