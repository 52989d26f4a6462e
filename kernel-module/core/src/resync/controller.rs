// SPDX-License-Identifier: GPL-2.0
//! The pace of a resync or verify (behaviour.md 7.3): how many 4 KiB blocks to ask for in a turn of 100 ms, and when to leave the disk to
//! the application.

/// Longest plan: c-plan-ahead is at most 300 turns.
pub const MAX_STEPS: usize = 300;
/// RX-14: so much traffic of others since the last look is an application at work, in sectors.
const ACTIVE_SECTORS: i64 = 64;

/// Settings of the controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// resync-rate in KiB/s.
    pub rate_kib: u32,
    /// c-delay-target in 0.1 s.
    pub delay_target: u32,
    /// c-fill-target in sectors.
    pub fill_target: u32,
    /// c-max-rate in KiB/s.
    pub max_rate_kib: u32,
}

/// Position in the plan, and the sum of what is planned. The plan itself, corrections for the turns to come, is lent to each turn: one
/// number for each step of c-plan-ahead, none for a fixed rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Controller {
    head: usize,
    total: i64,
}

impl Controller {
    /// An empty plan (RX-13: at the start of a run, and when its length changes). The numbers lent have to be 0 then.
    pub const fn new() -> Self {
        Self { head: 0, total: 0 }
    }

    /// Blocks of 4 KiB to ask for now. `arrived` since the last turn and `in_flight` are in sectors.
    pub fn turn(&mut self, plan: &mut [i32], settings: &Settings, arrived: u32, in_flight: u32) -> u32 {
        if plan.is_empty() {
            // KiB/s for a tenth of a second, in blocks of 4 KiB.
            return settings.rate_kib / 40;
        }
        let steps = plan.len() as i64;
        let (arrived, in_flight) = (i64::from(arrived), i64::from(in_flight));
        let want = if arrived + in_flight == 0 {
            i64::from(settings.rate_kib) * 2 / 10 * steps
        } else if settings.fill_target > 0 {
            i64::from(settings.fill_target)
        } else {
            arrived.saturating_mul(i64::from(settings.delay_target))
        };
        let per_step = want.saturating_sub(in_flight).saturating_sub(self.total) / steps;
        let per_step = i32::try_from(per_step).unwrap_or(if per_step < 0 { i32::MIN / 512 } else { i32::MAX / 512 });
        for slot in plan.iter_mut() {
            *slot = slot.saturating_add(per_step);
        }
        self.total = self.total.saturating_add(i64::from(per_step).saturating_mul(steps));
        self.head %= plan.len();
        let now = plan.get_mut(self.head).map_or(0, core::mem::take);
        self.head += 1;
        self.total -= i64::from(now);
        let most = i64::from(settings.max_rate_kib) * 2 / 10;
        let sectors = (arrived + i64::from(now)).clamp(0, most);
        u32::try_from(sectors / 8).unwrap_or(u32::MAX)
    }
}

/// RX-6: what of `blocks` may be asked for when `in_flight` sectors are on their way, so that both nodes keep half of their buffers.
pub fn within_buffers(blocks: u32, max_buffers: u32, in_flight: u32) -> u32 {
    blocks.min((max_buffers / 2).saturating_sub(in_flight / 8))
}

/// Whether to step aside for an application (RX-14).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Throttle {
    seen: i64,
}

impl Throttle {
    /// At the start of a run. `others`: traffic of the disk that is not ours so far, in sectors.
    pub const fn new(others: i64) -> Self {
        Self { seen: others }
    }

    /// A look. `waits`: an application write waits for the activity log; `recent_kib`: pace of the run of late, in KiB/s; `least_kib`:
    /// c-min-rate, 0 for never.
    pub fn look(&mut self, others: i64, waits: bool, recent_kib: u64, least_kib: u32) -> bool {
        if least_kib == 0 || !(waits || others.wrapping_sub(self.seen) > ACTIVE_SECTORS) {
            return false;
        }
        self.seen = others;
        recent_kib > u64::from(least_kib)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_rate_asks_for_a_tenth_of_it_each_turn() {
        let settings = Settings { rate_kib: 204_800, ..Settings::default() };
        assert_eq!(Controller::new().turn(&mut [], &settings, 0, 0), 5120);
    }

    /// A link that delivers a quarter of what is in flight each turn.
    fn settle(settings: &Settings, steps: usize) -> (u32, u32, u32) {
        let (mut controller, mut plan) = (Controller::new(), vec![0; steps]);
        let (mut in_flight, mut arrived, mut blocks) = (0u32, 0u32, 0);
        for _ in 0..600 {
            blocks = controller.turn(&mut plan, settings, arrived, in_flight);
            in_flight += blocks * 8;
            arrived = in_flight / 4;
            in_flight -= arrived;
        }
        (in_flight, arrived, blocks)
    }

    #[test]
    fn the_controller_settles_at_the_fill_target() {
        let settings = Settings { rate_kib: 250, delay_target: 10, fill_target: 1000, max_rate_kib: 1 << 20 };
        let (in_flight, arrived, _) = settle(&settings, 20);
        assert!((500..2000).contains(&(in_flight + arrived)), "{in_flight} + {arrived}");
    }

    #[test]
    fn the_controller_never_asks_for_more_than_c_max_rate() {
        let settings = Settings { rate_kib: 250, delay_target: 10, fill_target: 1 << 20, max_rate_kib: 4000 };
        let (_, _, blocks) = settle(&settings, 20);
        assert_eq!(blocks, 100);
    }

    /// The numbers of the formula in behaviour.md 7.3, worked out by hand for three turns.
    #[test]
    fn the_turns_follow_the_documented_formula() {
        let settings = Settings { rate_kib: 1000, delay_target: 10, fill_target: 500, max_rate_kib: 1 << 20 };
        let (mut controller, mut plan) = (Controller::new(), [0; 4]);
        // first turn: want = 1000 * 2 / 10 * 4 = 800, corr = 800, cps = 200: req = 200, T = 600
        assert_eq!(controller.turn(&mut plan, &settings, 0, 0), 25);
        assert_eq!((plan, controller.total), ([0, 200, 200, 200], 600));
        // in = 120, flight = 80: want = 500, corr = 500 - 80 - 600 = -180, cps = -45: req = 120 + 155 = 275, T = 600 - 180 - 155
        assert_eq!(controller.turn(&mut plan, &settings, 120, 80), 34);
        assert_eq!((plan, controller.total), ([-45, 0, 155, 155], 265));
        // in = 0, flight = 355: corr = 500 - 355 - 265 = -120, cps = -30: req = 0 + 125
        assert_eq!(controller.turn(&mut plan, &settings, 0, 355), 15);
        assert_eq!((plan, controller.total), ([-75, -30, 0, 125], 20));
    }

    #[test]
    fn rx_13_wild_numbers_do_not_overflow() {
        let settings = Settings { rate_kib: u32::MAX, delay_target: u32::MAX, fill_target: 0, max_rate_kib: u32::MAX };
        let (mut controller, mut plan) = (Controller::new(), vec![0; MAX_STEPS]);
        for turn in 0..1000u32 {
            controller.turn(&mut plan, &settings, turn.wrapping_mul(0x9e37_79b9), turn.wrapping_mul(0x85eb_ca6b));
        }
    }

    #[test]
    fn rx_6_half_of_the_buffers_stay_free() {
        assert_eq!(within_buffers(5000, 2048, 0), 1024);
        assert_eq!(within_buffers(5000, 2048, 1020 * 8), 4);
        assert_eq!(within_buffers(5000, 2048, 9000 * 8), 0);
    }

    #[test]
    fn rx_14_a_fast_run_steps_aside_for_an_application_and_a_slow_one_does_not() {
        let mut throttle = Throttle::new(1000);
        assert!(!throttle.look(1064, false, 9999, 250), "64 sectors are noise");
        assert!(throttle.look(1065, false, 9999, 250));
        assert!(!throttle.look(1065, false, 9999, 250), "nothing new");
        assert!(throttle.look(1065, true, 9999, 250), "a write waits for the log");
        assert!(!throttle.look(5000, true, 250, 250), "c-min-rate is left to the run");
        assert!(!throttle.look(9000, true, 9999, 0), "0: never");
    }
}
