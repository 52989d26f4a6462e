// SPDX-License-Identifier: GPL-2.0
//! Slots for requests in flight: how many are left, and more of them.

use super::volume::{DataPlane, Storage};

impl<T: Storage> DataPlane<T> {
    /// That many slots are free beside those that notices about admitted writes may need: a notice is never lost for want of one.
    pub fn has_room(&self, slots: u32) -> bool {
        self.table.capacity().saturating_sub(self.table.used()) >= self.unlaunched.saturating_add(slots)
    }

    /// Slots there are.
    pub fn slots(&self) -> u32 {
        self.table.capacity()
    }

    /// Slots in use.
    pub const fn slots_in_use(&self) -> u32 {
        self.table.used()
    }

    /// Goes on with more slots; what is in flight keeps its own. Gives back the old ones, or the new ones if they are no more. Whoever waits for a
    /// slot may be admitted.
    pub fn grow(&mut self, slots: T::Slots) -> T::Slots {
        self.table.grow(slots)
    }
}
