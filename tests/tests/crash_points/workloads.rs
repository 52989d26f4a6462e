// SPDX-License-Identifier: GPL-2.0
//! What the nodes do while the power may go: activity log, bitmap, generations, roles, sizes, attach and detach.

use super::node::{Duty, Make, Node};
use drbd_core::md::{Geometry, Index};
use drbd_core::state::{Conn, Disk, Kind, Request, Role};

/// A name and what happens to a node; the number scales it, and the node may forget a duty.
pub type Workload = (&'static str, fn(u64, Option<Duty>) -> Node);

pub const ALL: [Workload; 24] = [
    ("log: cold extents one after the other, evicted in order", sequential),
    ("log: hot and cold extents, both nodes have every write", mixed_writes),
    ("log: as many extents at once as a transaction holds", full_transactions),
    ("log: writes across the boundary of two extents", across_extents),
    ("log: writes that only this node has, evictions store the bitmap", alone),
    ("log: slots that need several transactions to describe", many_slots),
    ("log: four stripes", striped),
    ("log: a ring whose size is no power of two", odd_ring),
    ("log: for the writes of a Primary without disk", for_a_diskless_primary),
    ("bitmap: written at every demotion", demotions),
    ("bitmap: all bits set", all_bits_set),
    ("bitmap: cleared for a new generation", new_generation_clears),
    ("bitmap: a resync as source clears it in pieces", resyncs_as_source),
    ("bitmap: a resync as target, broken off and taken up again", resyncs_as_target),
    ("generations: the peer is lost and returns", peer_comes_and_goes),
    ("generations: a full sync as target", full_sync_as_target),
    ("roles: exchanged again and again", roles),
    ("size: internal metadata moves as the device grows", grows_internal),
    ("size: external metadata, the device grows and shrinks", resizes_external),
    ("size: the new part is assumed clean", grows_clean),
    ("size: another activity log", log_changes),
    ("attach: detached and attached again", attach_detach),
    ("attach: the power goes, and comes back", crashes),
    ("attach: the power goes on a device with external metadata", crashes_external),
];

fn writes(node: &mut Node, count: u64, extents: u64, in_flight: usize) {
    for _ in 0..count {
        let range = node.some_range(extents);
        node.write(&[range]);
        while node.writes_in_flight() > in_flight {
            node.end_write();
        }
    }
}

fn primary(make: Make) -> Node {
    let mut node = Node::new(make);
    node.promote();
    node
}

fn sequential(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = primary(Make { forgets, ..Make::internal(400, 7, 1) });
    for extent in 0..scale {
        let first = extent % 97 * 1024 + 5;
        node.write(&[(first, first + 3)]);
        node.end_write();
    }
    node
}

fn mixed_writes(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = primary(Make { forgets, ..Make::internal(400, 9, 2) });
    writes(&mut node, scale * 2, 14, 4);
    node
}

fn full_transactions(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = primary(Make { forgets, ..Make::internal(1024, 150, 3) });
    for _ in 0..scale.div_ceil(3) {
        let ranges: Vec<(u64, u64)> = (0..64).map(|_| node.some_range(250)).collect();
        node.write(&ranges);
        while node.writes_in_flight() > 30 {
            node.end_write();
        }
    }
    node
}

fn across_extents(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = primary(Make { forgets, ..Make::internal(400, 8, 4) });
    for _ in 0..scale {
        let extent = 1 + node.random.below(40);
        node.write(&[(extent * 1024 - 2, extent * 1024 + 3)]);
        while node.writes_in_flight() > 2 {
            node.end_write();
        }
    }
    node
}

fn alone(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = primary(Make { forgets, ..Make::internal(400, 7, 5) });
    node.lose_peer();
    writes(&mut node, scale, 90, 3);
    node
}

fn many_slots(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = primary(Make { index: Index::FlexibleExternal, device_sectors: 4096, forgets, ..Make::internal(0, 3000, 6) });
    for _ in 0..scale.div_ceil(3) {
        let ranges: Vec<(u64, u64)> = (0..40).map(|_| node.some_range(7000)).collect();
        node.write(&ranges);
        while node.writes_in_flight() > 50 {
            node.end_write();
        }
    }
    node
}

fn striped(scale: u64, forgets: Option<Duty>) -> Node {
    let geometry = Geometry { stripes: 4, stripe_size_4k: 4 };
    let mut node = primary(Make { geometry, forgets, ..Make::internal(300, 7, 7) });
    writes(&mut node, scale, 30, 3);
    node
}

fn odd_ring(scale: u64, forgets: Option<Duty>) -> Node {
    let geometry = Geometry { stripes: 3, stripe_size_4k: 3 };
    let mut node = primary(Make { geometry, forgets, ..Make::internal(300, 7, 8) });
    writes(&mut node, scale, 30, 3);
    node
}

fn for_a_diskless_primary(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = Node::new(Make { forgets, ..Make::internal(300, 7, 9) });
    node.change(Request::none().pdsk(Disk::Diskless), Kind::Hard);
    let peer = node.uuids.current;
    node.change(Request::none().peer(Role::Primary), Kind::Hard);
    node.disk.fact(super::disk::Fact::AheadOf(peer));
    writes(&mut node, scale, 30, 3);
    node.end_all_writes();
    node.change(Request::none().peer(Role::Secondary), Kind::Hard);
    node
}

fn demotions(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = primary(Make { forgets, ..Make::internal(400, 7, 10) });
    node.lose_peer();
    for _ in 0..scale.div_ceil(6) {
        writes(&mut node, 6, 90, 3);
        node.demote();
        node.promote();
    }
    node
}

fn all_bits_set(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = primary(Make { forgets, ..Make::internal(600, 7, 11) });
    for _ in 0..scale.div_ceil(6) {
        writes(&mut node, 3, 90, 2);
        node.end_all_writes();
        node.set_all_bits();
        node.return_and_sync();
    }
    node
}

fn new_generation_clears(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = Node::new(Make { forgets, ..Make::internal(400, 7, 12) });
    for _ in 0..scale.div_ceil(4) {
        node.bitmap.fill(true);
        node.write_bitmap();
        node.uuids.clear_bitmap();
        node.rotate();
        node.bitmap.fill(false);
        node.write_bitmap();
    }
    node
}

fn resyncs_as_source(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = primary(Make { forgets, ..Make::internal(600, 9, 13) });
    for _ in 0..scale.div_ceil(16) {
        node.lose_peer();
        writes(&mut node, 16, 140, 3);
        node.return_and_sync();
        writes(&mut node, 3, 140, 3);
    }
    node
}

fn resyncs_as_target(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = Node::new(Make { forgets, ..Make::internal(600, 9, 14) });
    for round in 0..scale.div_ceil(12) {
        let mut ranges: Vec<(u64, u64)> = (0..40).map(|_| node.some_range(140)).collect();
        ranges.sort_unstable();
        node.sync_from_peer(&ranges, false, round % 2 == 0);
    }
    node
}

fn peer_comes_and_goes(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = primary(Make { forgets, ..Make::internal(300, 7, 15) });
    for _ in 0..scale.div_ceil(6) {
        writes(&mut node, 3, 60, 3);
        node.lose_peer();
        writes(&mut node, 2, 60, 2);
        node.return_and_sync();
    }
    node
}

fn full_sync_as_target(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = Node::new(Make { forgets, ..Make::internal(600, 9, 16) });
    for round in 0..scale.div_ceil(12) {
        let bits = node.bits();
        let ranges: Vec<(u64, u64)> = (0..bits.div_ceil(4096)).map(|part| (part * 4096, (part * 4096 + 4096).min(bits))).collect();
        node.sync_from_peer(&ranges, true, round % 3 == 2);
    }
    node
}

fn roles(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = Node::new(Make { forgets, ..Make::internal(300, 7, 17) });
    for _ in 0..scale.div_ceil(5) {
        node.promote();
        writes(&mut node, 4, 60, 3);
        node.demote();
        node.change(Request::none().peer(Role::Primary), Kind::Hard);
        node.change(Request::none().peer(Role::Secondary), Kind::Hard);
    }
    node
}

fn grows_internal(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = primary(Make { forgets, ..Make::internal(100, 7, 18) });
    for round in 1..=scale.div_ceil(15).min(10) {
        writes(&mut node, 6, 25, 3);
        node.end_all_writes();
        node.relocate((100 + 60 * round) << 11, Geometry::default(), None, false);
        writes(&mut node, 4, 25, 3);
    }
    node
}

fn resizes_external(scale: u64, forgets: Option<Duty>) -> Node {
    let make = Make { index: Index::FlexibleExternal, device_sectors: 2048, forgets, ..Make::internal(0, 7, 19) };
    let mut node = primary(make);
    node.relocate(2048, Geometry::default(), Some(400 << 11), false);
    for round in 0..scale.div_ceil(15) {
        let size = [900, 300, 1100, 200][round as usize % 4] << 11;
        writes(&mut node, 6, 40, 3);
        node.end_all_writes();
        node.relocate(2048, Geometry::default(), Some(size), false);
    }
    node
}

fn grows_clean(scale: u64, forgets: Option<Duty>) -> Node {
    let make = Make { index: Index::FlexibleExternal, device_sectors: 2048, forgets, ..Make::internal(0, 7, 20) };
    let mut node = primary(make);
    node.relocate(2048, Geometry::default(), Some(200 << 11), false);
    for round in 1..=scale.div_ceil(15) {
        node.lose_peer();
        writes(&mut node, 6, 40, 3);
        node.relocate(2048, Geometry::default(), Some((200 + round * 90) << 11), true);
        node.return_and_sync();
    }
    node
}

fn log_changes(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = primary(Make { forgets, ..Make::internal(300, 7, 21) });
    for round in 0..scale.div_ceil(15) {
        writes(&mut node, 5, 40, 3);
        node.end_all_writes();
        let geometry = if round % 2 == 0 { Geometry { stripes: 2, stripe_size_4k: 8 } } else { Geometry::default() };
        node.relocate(300 << 11, geometry, None, false);
    }
    node
}

fn attach_detach(scale: u64, forgets: Option<Duty>) -> Node {
    let mut node = primary(Make { forgets, ..Make::internal(300, 7, 22) });
    node.lose_peer();
    for _ in 0..scale.div_ceil(10) {
        writes(&mut node, 4, 60, 3);
        node.demote();
        node.detach();
        node.attach();
        node.change(Request::none().role(Role::Primary), Kind::Soft);
        node.uuids.set_primary(true);
        node.write_superblock();
    }
    node
}

fn power_goes(mut node: Node, scale: u64) -> Node {
    for round in 0..scale.div_ceil(10) {
        if round % 2 == 0 && node.state.conn >= Conn::Connected {
            node.lose_peer();
        }
        writes(&mut node, 5, 60, 3);
        node.lose_power();
        node.promote();
    }
    node
}

fn crashes(scale: u64, forgets: Option<Duty>) -> Node {
    power_goes(primary(Make { forgets, ..Make::internal(300, 7, 23) }), scale)
}

fn crashes_external(scale: u64, forgets: Option<Duty>) -> Node {
    let make = Make { index: Index::FlexibleExternal, device_sectors: 2048, forgets, ..Make::internal(0, 7, 24) };
    power_goes(primary(make), scale)
}
