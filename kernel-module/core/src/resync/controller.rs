// SPDX-License-Identifier: GPL-2.0
//! The pace of a resync (behaviour.md 7.3): how many 4 KiB blocks to ask for in a turn of 100 ms.

/// Longest plan: c-plan-ahead is at most 300 turns.
const MAX_STEPS: usize = 300;

/// Settings of the controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// resync-rate in KiB/s.
    pub rate_kib: u32,
    /// c-plan-ahead in turns of 0.1 s; 0: fixed rate.
    pub plan_ahead: u32,
    /// c-delay-target in 0.1 s.
    pub delay_target: u32,
    /// c-fill-target in sectors.
    pub fill_target: u32,
    /// c-max-rate in KiB/s.
    pub max_rate_kib: u32,
}

/// The plan: corrections for the turns to come.
#[derive(Clone, Debug)]
pub struct Controller {
    plan: [i32; MAX_STEPS],
    head: usize,
    total: i32,
}

impl Default for Controller {
    fn default() -> Self {
        Self::new()
    }
}

impl Controller {
    /// An empty plan.
    pub const fn new() -> Self {
        Self { plan: [0; MAX_STEPS], head: 0, total: 0 }
    }

    /// Forgets the plan (a resync starts).
    pub fn reset(&mut self) {
        self.plan.fill(0);
        self.head = 0;
        self.total = 0;
    }

    /// Blocks of 4 KiB to ask for now. `arrived` and `in_flight` are in sectors.
    pub fn turn(&mut self, settings: &Settings, arrived: u32, in_flight: u32) -> u32 {
        let steps = (settings.plan_ahead as usize).min(MAX_STEPS);
        if steps == 0 {
            // KiB/s for a tenth of a second, in blocks of 4 KiB.
            return (u64::from(settings.rate_kib) / 40) as u32;
        }
        let (arrived, in_flight) = (i64::from(arrived), i64::from(in_flight));
        let want = if arrived + in_flight == 0 {
            i64::from(settings.rate_kib) * 2 / 10 * steps as i64
        } else if settings.fill_target > 0 {
            i64::from(settings.fill_target)
        } else {
            arrived * i64::from(settings.delay_target)
        };
        let correction = want - in_flight - i64::from(self.total);
        let per_step = clamp(correction / steps as i64);
        for slot in self.plan.iter_mut().take(steps) {
            *slot = slot.saturating_add(per_step);
        }
        self.total = self.total.saturating_add(per_step.saturating_mul(steps as i32));
        self.head %= steps;
        let now = self.plan.get_mut(self.head).map_or(0, core::mem::take);
        self.head = (self.head + 1) % steps;
        self.total = self.total.saturating_sub(now);
        let most = i64::from(settings.max_rate_kib) * 2 / 10;
        let request = (arrived + i64::from(now)).clamp(0, most);
        u32::try_from(request / 8).unwrap_or(u32::MAX)
    }
}

fn clamp(value: i64) -> i32 {
    value.clamp(i64::from(i32::MIN / 512), i64::from(i32::MAX / 512)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_rate_asks_for_a_tenth_of_it_each_turn() {
        let settings = Settings { rate_kib: 204_800, ..Settings::default() };
        assert_eq!(Controller::new().turn(&settings, 0, 0), 5120);
    }

    #[test]
    fn the_controller_settles_at_the_fill_target() {
        let settings = Settings { rate_kib: 250, plan_ahead: 20, delay_target: 10, fill_target: 1000, max_rate_kib: 1 << 20 };
        let mut controller = Controller::new();
        let (mut in_flight, mut arrived) = (0u32, 0u32);
        for _ in 0..400 {
            let blocks = controller.turn(&settings, arrived, in_flight);
            in_flight += blocks * 8;
            arrived = in_flight / 4; // the link delivers a quarter of what is in flight per turn
            in_flight -= arrived;
        }
        assert!((500..2000).contains(&(in_flight + arrived)), "{in_flight} + {arrived}");
    }
}
