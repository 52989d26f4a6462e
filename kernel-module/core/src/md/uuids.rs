// SPDX-License-Identifier: GPL-2.0
//! The four generation identifiers and how events move them (metadata.md section 4, behaviour.md section 3).

/// "Just created": data was never compared.
pub const JUST_CREATED: u64 = 4;
/// Added to the bitmap UUID when a resync starts (UU-9).
pub const RESYNC_OFFSET: u64 = 0x0001_0000_0000_0000;

/// A set of generation identifiers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Uuids {
    /// Generation of the data here. Bit 0: the node was Primary.
    pub current: u64,
    /// Generation the bitmap counts from; 0: none.
    pub bitmap: u64,
    /// Older generations, youngest first.
    pub history: [u64; 2],
}

/// Both values name the same generation: bit 0 does not count.
pub const fn same(a: u64, b: u64) -> bool {
    a & !1 == b & !1
}

impl Uuids {
    /// From the order on wire and disk: current, bitmap, history.
    pub const fn from_array(array: [u64; 4]) -> Self {
        let [current, bitmap, history_0, history_1] = array;
        Self { current, bitmap, history: [history_0, history_1] }
    }

    /// Current, bitmap, history.
    pub const fn to_array(self) -> [u64; 4] {
        [self.current, self.bitmap, self.history[0], self.history[1]]
    }

    /// A new generation begins (UU-1): the old one becomes the base of the bitmap. `random` is any number; bit 0 follows `primary`.
    pub fn new_current(&mut self, random: u64, primary: bool) {
        self.bitmap = self.current;
        self.current = with_role(random, primary);
    }

    fn push_history(&mut self, value: u64) {
        if value != 0 {
            self.history = [value, self.history[0]];
        }
    }

    /// Sets the bitmap UUID; an old value moves into history (UU-2).
    pub fn set_bitmap(&mut self, value: u64) {
        let old = self.bitmap;
        self.push_history(old);
        self.bitmap = value;
    }

    /// Clears the bitmap UUID; an old value moves into history (UU-3).
    pub fn clear_bitmap(&mut self) {
        self.set_bitmap(0);
    }

    /// Bit 0 of the current UUID follows the role.
    pub fn set_primary(&mut self, primary: bool) {
        self.current = with_role(self.current, primary);
    }

    /// Source of a resync that starts (UU-9): returns the sync UUID to send. `random` is used when there is no bitmap UUID.
    pub fn start_as_source(&mut self, random: u64) -> u64 {
        let sync = match self.bitmap {
            0 | JUST_CREATED => random,
            bitmap => bitmap.wrapping_add(RESYNC_OFFSET),
        };
        self.set_bitmap(sync);
        sync
    }

    /// Target of a resync that starts (UU-10).
    pub fn start_as_target(&mut self, sync: u64) {
        self.current = sync & !1;
        self.bitmap = 0;
    }

    /// End of a resync as target without failed blocks (UU-11): `source` is the source's set as it came in the handshake.
    pub fn finish_as_target(&mut self, source: &Uuids, primary: bool) {
        self.bitmap = source.bitmap;
        self.history = source.history;
        let sync = self.current;
        self.set_bitmap(sync);
        self.current = with_role(source.current, primary);
        self.clear_bitmap();
    }
}

const fn with_role(value: u64, primary: bool) -> u64 {
    value & !1 | primary as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resync_leaves_both_sides_with_the_same_history() {
        let before = Uuids { current: 0xC0, bitmap: 0xB0, history: [0xA0, 0] };
        let mut source = before;
        let sync = source.start_as_source(1);
        assert_eq!(sync, 0xB0 + RESYNC_OFFSET);
        assert_eq!(source, Uuids { current: 0xC0, bitmap: sync, history: [0xB0, 0xA0] });
        let mut target = Uuids { current: 0xB0, bitmap: 0, history: [0xA0, 0] };
        target.start_as_target(sync);
        assert_eq!((target.current, target.bitmap), (sync, 0));
        target.finish_as_target(&before, false);
        source.clear_bitmap();
        assert_eq!(source, Uuids { current: 0xC0, bitmap: 0, history: [sync, 0xB0] });
        assert_eq!(target, source);
    }

    #[test]
    fn losing_the_peer_moves_current_into_the_bitmap_slot_with_its_primary_bit() {
        let mut uuids = Uuids { current: 0x11, bitmap: 0, history: [3, 2] };
        uuids.new_current(0x200, true);
        assert_eq!(uuids, Uuids { current: 0x201, bitmap: 0x11, history: [3, 2] });
    }
}
