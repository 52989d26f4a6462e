// SPDX-License-Identifier: GPL-2.0
//! A client of the database that remembers what it was promised.

use crate::stack::{wait, Node, Stack};
use anyhow::{ensure, Result};

/// Inserts rows over the cluster's address, one transaction each, and notes every row whose
/// commit was confirmed. It runs on the node that the test leaves alone, and goes on after
/// errors with the next number.
const WRITER: &str = r#"
i=$(tail -n 1 /root/confirmed 2>/dev/null | cut -d' ' -f1); i=$((${i:-0} + 1000))
while [ ! -e /run/writer-stop ]; do
    i=$((i + 1))
    if timeout 30 mariadb -h 10.0.0.100 -u app t -e "insert into x values ($i, md5($i))" 2>/dev/null; then
        echo $i >> /root/confirmed
        sleep 0.5
    else
        sleep 1
    fi
done
"#;

impl Stack {
    /// Makes the table and the user.
    pub fn create_table(&mut self, on: Node) -> Result<()> {
        self.vm(on).ok(
            "mariadb -e \"create database t; create user app@'%'; grant all on t.* to app@'%';
             create table t.x (n int primary key, v varchar(40)) engine=innodb\"",
        )?;
        Ok(())
    }

    /// Starts the writer and waits for its first confirmed row.
    pub fn start_writer(&mut self, on: Node) -> Result<()> {
        let vm = self.vm(on);
        vm.ok(&format!(
            "cat > /root/writer <<'END'\n{WRITER}END\nrm -f /run/writer-stop\n\
             setsid sh /root/writer >/dev/null 2>&1 & sleep 1"
        ))?;
        self.more_rows(on, 3)
    }

    /// Waits until the writer had `more` rows confirmed from now on.
    pub fn more_rows(&mut self, on: Node, more: u64) -> Result<()> {
        let count = "wc -l < /root/confirmed 2>/dev/null || echo 0";
        let vm = self.vm(on);
        let wanted = vm.ok(count)?.trim().parse::<u64>().unwrap_or(0) + more;
        wait(vm, 300, count, "the writer goes on", |t| {
            t.trim().parse::<u64>().is_ok_and(|n| n >= wanted)
        })?;
        Ok(())
    }

    /// Stops the writer and checks on node `database` that every confirmed row is there with
    /// its content; returns how many there are.
    pub fn all_rows_there(&mut self, writer: Node, database: Node) -> Result<u64> {
        self.vm(writer).ok("touch /run/writer-stop; while pgrep -f /root/writer >/dev/null; do sleep 1; done")?;
        let confirmed = self.vm(writer).ok("sort /root/confirmed")?;
        let vm = self.vm(database);
        ensure!(vm.ok("mariadb -N -e 'check table t.x'")?.contains("OK"), "the table is damaged");
        let have = vm.ok("mariadb -N -e 'select n from t.x where v = md5(n)' | sort")?;
        let have: std::collections::BTreeSet<&str> = have.lines().collect();
        let missing: Vec<&str> = confirmed.lines().filter(|n| !have.contains(n)).collect();
        ensure!(missing.is_empty(), "confirmed rows are lost: {missing:?}");
        let count = confirmed.lines().count() as u64;
        println!("{count} confirmed rows, all there on {}", database.name());
        Ok(count)
    }
}
