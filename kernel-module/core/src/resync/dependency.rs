// SPDX-License-Identifier: GPL-2.0
//! Which resync has to wait for another one (resync-after, behaviour.md RX-16).

/// What is known of a minor that has a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its resync-after; -1: none.
    pub after: i32,
    /// It is in a sync state, or its resync is held up by any pause flag.
    pub busy: bool,
}

/// Largest minor.
const LARGEST_MINOR: i32 = (1 << 20) - 1;

/// Longest chain that is followed; a longer one can only be a circle.
const LONGEST_CHAIN: usize = 1 << 16;

/// A resync-after that is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadDependency {
    /// No minor has this number.
    Minor,
    /// The device would wait for itself.
    Cycle,
}

/// The minors after which a device resyncs, nearest first. The chain ends at a missing or detached minor, or at one without dependency.
fn chain(after: i32, look: impl Fn(u32) -> Option<Node>) -> impl Iterator<Item = (u32, Node)> {
    let mut next = after;
    core::iter::from_fn(move || {
        let minor = u32::try_from(next).ok()?;
        let node = look(minor)?;
        next = node.after;
        Some((minor, node))
    })
    .take(LONGEST_CHAIN)
}

/// A device with this resync-after may sync now: nothing in its chain syncs or is held up.
pub fn may_sync(after: i32, look: impl Fn(u32) -> Option<Node>) -> bool {
    let mut chain = chain(after, look);
    !chain.any(|(_, node)| node.busy)
}

/// Whether `minor` may get this resync-after. A minor that does not exist (yet) is accepted.
pub fn check(minor: u32, after: i32, look: impl Fn(u32) -> Option<Node>) -> Result<(), BadDependency> {
    if !(-1..=LARGEST_MINOR).contains(&after) {
        return Err(BadDependency::Minor);
    }
    if u32::try_from(after) == Ok(minor) || chain(after, look).any(|(_, node)| u32::try_from(node.after) == Ok(minor)) {
        return Err(BadDependency::Cycle);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(rows: &[(u32, i32, bool)]) -> impl Fn(u32) -> Option<Node> + '_ {
        |minor| rows.iter().find(|row| row.0 == minor).map(|row| Node { after: row.1, busy: row.2 })
    }

    #[test]
    fn rx_16_anything_busy_in_the_chain_holds_a_resync_up() {
        let rows = [(1, -1, true), (2, 1, false), (3, 2, false), (4, 9, true), (5, 4, false)];
        assert!(may_sync(-1, look(&rows)));
        assert!(!may_sync(2, look(&rows)), "1 is behind 2");
        assert!(may_sync(9, look(&rows)), "9 is not there");
        assert!(!may_sync(4, look(&rows)));
        let idle = [(1, -1, false), (2, 1, false)];
        assert!(may_sync(2, look(&idle)));
    }

    #[test]
    fn rx_16_cycles_and_impossible_minors_are_refused() {
        let rows = [(1, 2, false), (2, 3, false), (3, -1, false)];
        assert_eq!(check(3, 1, look(&rows)), Err(BadDependency::Cycle));
        assert_eq!(check(3, 3, look(&rows)), Err(BadDependency::Cycle));
        assert_eq!(check(4, 1, look(&rows)), Ok(()));
        assert_eq!(check(3, 77, look(&rows)), Ok(()), "not configured yet");
        assert_eq!(check(3, -1, look(&rows)), Ok(()));
        assert_eq!(check(3, -2, look(&rows)), Err(BadDependency::Minor));
        assert_eq!(check(3, 1 << 20, look(&rows)), Err(BadDependency::Minor));
    }

    #[test]
    fn a_circle_of_others_is_left() {
        let rows = [(1, 2, false), (2, 1, false)];
        assert!(may_sync(1, look(&rows)));
        assert_eq!(check(3, 1, look(&rows)), Ok(()));
    }
}
