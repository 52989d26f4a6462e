// SPDX-License-Identifier: GPL-2.0
//! The faults of the torture test. Each leaves both nodes with power, cable and disk, and the
//! nodes connected; whether they have synced is left open.

use crate::Torture;
use anyhow::Result;
use qemu_testbed::pair::attach_again;

/// A node's disk from now on.
fn table(table: &str) -> String {
    format!("dmsetup suspend --nolockfs --noflush back && dmsetup load back --table '{table}' && dmsetup resume back")
}

impl Torture {
    /// Draws one fault and lets it happen.
    pub(crate) fn fault(&mut self) -> Result<()> {
        let (primary, secondary) = (self.primary, 1 - self.primary);
        let either = if self.random.below(2) == 0 { primary } else { secondary };
        match self.random.below(20) {
            0 | 1 => self.short_cut(either),
            2 | 3 => self.long_cut(either),
            4 => self.frozen(either),
            5 | 6 => self.secondary_loses_power(),
            7 | 8 => self.primary_loses_power(),
            9 => self.lone_primary_loses_power(),
            10 => self.both_lose_power(),
            11 | 12 => self.roles_change(),
            13 => self.disk_fails(either),
            14 => self.disk_hangs(either),
            15 => self.administrator_disconnects(either),
            16 => self.administrator_detaches(either),
            17 => self.invalidated(),
            18 => self.resync_paused(either),
            _ => self.secondary_starts_anew(),
        }
    }

    /// A Primary that has lacked its disk for a while is not to lose the node that it gets its data from.
    fn keep_source(&mut self) -> Result<()> {
        if self.status(self.primary)?.contains("ds:UpToDate/") {
            return Ok(());
        }
        self.wait_good()
    }

    fn short_cut(&mut self, at: usize) -> Result<()> {
        self.keep_source()?;
        self.say(&format!("cable of node{} out for a moment", at + 1));
        for _ in 0..=self.random.below(4) {
            self.node(at).set_link(false)?;
            self.random.pause(50, 1500);
            self.node(at).set_link(true)?;
            self.random.pause(50, 800);
        }
        self.wait_connected()
    }

    fn cut_until_noticed(&mut self) -> Result<()> {
        let primary = self.primary;
        self.node(primary).set_link(false)?;
        self.node(primary).wait_for(60, "cat /proc/drbd", "cs:WFConnection")?;
        self.random.pause(500, 4000);
        Ok(())
    }

    fn long_cut(&mut self, at: usize) -> Result<()> {
        self.keep_source()?;
        self.say("cable out until it is noticed");
        self.cut_until_noticed()?;
        let primary = self.primary;
        if at != primary {
            // the other side has to have noticed too
            self.node(at).wait_for(60, "cat /proc/drbd", "cs:WFConnection")?;
        }
        self.node(primary).set_link(true)?;
        self.wait_connected()
    }

    fn frozen(&mut self, at: usize) -> Result<()> {
        self.keep_source()?;
        self.say(&format!("node{} is frozen", at + 1));
        self.node(at).freeze(true)?;
        self.random.pause(300, 9000);
        self.node(at).freeze(false)?;
        self.random.pause(2000, 5000);
        self.wait_connected()
    }

    fn secondary_loses_power(&mut self) -> Result<()> {
        self.keep_source()?;
        let secondary = 1 - self.primary;
        self.say(&format!("node{}, Secondary, loses power", secondary + 1));
        self.node(secondary).power_cut();
        self.random.pause(0, 6000);
        self.return_to_life(secondary)?;
        self.wait_connected()
    }

    /// Waits for the end of a resync, which is not to take minutes for the sake of the load.
    fn wait_good(&mut self) -> Result<()> {
        self.hurry()?;
        self.pair.wait_synced(180)?;
        for index in 0..2 {
            self.node(index).run("drbdadm adjust r0")?;
        }
        Ok(())
    }

    fn primary_loses_power(&mut self) -> Result<()> {
        self.wait_good()?;
        let (primary, secondary) = (self.primary, 1 - self.primary);
        self.say(&format!("node{}, Primary, loses power; the other takes over", primary + 1));
        self.random.pause(0, 1500);
        self.node(primary).power_cut();
        self.load_is_gone();
        self.hand_over()?;
        self.node(secondary).wait_for(60, "cat /proc/drbd", "cs:WFConnection")?;
        self.node(secondary).ok("drbdadm primary r0")?;
        self.begin_load()?;
        self.random.pause(0, 3000);
        self.return_to_life(primary)?;
        self.wait_connected()
    }

    /// Its bitmap was only in memory: the activity log has to make up for it.
    fn lone_primary_loses_power(&mut self) -> Result<()> {
        let primary = self.primary;
        self.wait_good()?;
        self.say(&format!("node{}, Primary and alone, loses power", primary + 1));
        self.cut_until_noticed()?;
        self.node(primary).power_cut();
        self.load_is_gone();
        self.node(1 - primary).wait_for(60, "cat /proc/drbd", "cs:WFConnection")?;
        self.return_to_life(primary)?;
        if self.random.below(2) == 0 {
            self.wait_connected()?;
        }
        self.node(primary).ok("drbdadm primary r0")?;
        self.begin_load()?;
        self.wait_connected()
    }

    fn both_lose_power(&mut self) -> Result<()> {
        self.wait_good()?;
        self.say("both nodes lose power");
        let primary = self.primary;
        self.random.pause(0, 1500);
        self.node(primary).power_cut();
        self.node(1 - primary).power_cut();
        self.load_is_gone();
        self.return_to_life(primary)?;
        self.return_to_life(1 - primary)?;
        self.wait_connected()?;
        if self.random.below(2) == 0 {
            self.hand_over()?;
        }
        let primary = self.primary;
        self.node(primary).ok("drbdadm primary r0")?;
        self.begin_load()
    }

    fn roles_change(&mut self) -> Result<()> {
        let (primary, secondary) = (self.primary, 1 - self.primary);
        self.say(&format!("node{} becomes Primary", secondary + 1));
        self.end_load()?;
        self.node(primary).ok("drbdadm secondary r0")?;
        self.hand_over()?;
        self.node(secondary).ok("drbdadm primary r0")?;
        self.begin_load()
    }

    fn disk_fails(&mut self, at: usize) -> Result<()> {
        self.wait_good()?;
        self.say(&format!("the disk of node{} fails", at + 1));
        let error = self.whole.replace("linear /dev/vda 0", "error");
        self.node(at).ok(&table(&error))?;
        self.node(at).wait_for(60, "cat /proc/drbd", "ds:Diskless/")?;
        self.random.pause(200, 4000);
        let whole = self.whole.clone();
        self.node(at).ok(&table(&whole))?;
        attach_again(self.node(at), "r0")?;
        self.random.pause(0, 1000);
        self.wait_connected()
    }

    fn disk_hangs(&mut self, at: usize) -> Result<()> {
        self.say(&format!("the disk of node{} hangs for a while", at + 1));
        self.node(at).ok("dmsetup suspend --nolockfs --noflush back")?;
        self.random.pause(300, 6000);
        self.node(at).ok("dmsetup resume back")?;
        self.wait_connected()
    }

    fn administrator_disconnects(&mut self, at: usize) -> Result<()> {
        self.keep_source()?;
        self.say(&format!("disconnect and connect on node{}", at + 1));
        self.node(at).ok("drbdadm disconnect r0")?;
        self.random.pause(0, 2500);
        self.node(at).ok("drbdadm connect r0")?;
        self.wait_connected()
    }

    fn administrator_detaches(&mut self, at: usize) -> Result<()> {
        self.wait_good()?;
        self.say(&format!("detach and attach on node{}", at + 1));
        self.node(at).ok("drbdadm detach r0")?;
        self.random.pause(0, 2500);
        self.node(at).ok("drbdadm attach r0")?;
        self.random.pause(0, 1000);
        self.wait_connected()
    }

    fn invalidated(&mut self) -> Result<()> {
        self.wait_good()?;
        let secondary = 1 - self.primary;
        self.say(&format!("node{}, Secondary, is invalidated", secondary + 1));
        self.node(secondary).ok("drbdadm invalidate r0")?;
        self.random.pause(0, 2500);
        self.wait_connected()
    }

    fn resync_paused(&mut self, at: usize) -> Result<()> {
        self.keep_source()?;
        self.say(&format!("the resync is paused on node{}", at + 1));
        self.node(at).ok("drbdadm pause-sync r0")?;
        self.cut_until_noticed()?;
        let primary = self.primary;
        self.node(primary).set_link(true)?;
        self.wait_connected()?;
        self.random.pause(200, 1500);
        self.node(at).ok("drbdadm resume-sync r0")?;
        Ok(())
    }

    fn secondary_starts_anew(&mut self) -> Result<()> {
        self.keep_source()?;
        let secondary = 1 - self.primary;
        self.say(&format!("node{}: down, module out and in, up", secondary + 1));
        self.node(secondary).ok("drbdadm down r0 && rmmod drbd")?;
        self.random.pause(0, 2000);
        self.node(secondary).ok("modprobe drbd && drbdadm up r0")?;
        self.wait_connected()
    }
}
