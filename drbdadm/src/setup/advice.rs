// SPDX-License-Identifier: GPL-2.0
//! What is added to a refusal so that its reader can go on: who uses a busy device, and that root is needed. It looks at this
//! machine, so it stays apart from the work, which recordings can be played through.

use super::commands::{Command, Operand};
use super::outcome::Failure;
use super::parse::Arguments;
use crate::busy;
use crate::view::with_client;
use drbd_core::state::Refusal;
use netlink_api::snapshot;

/// The backing device cannot be opened.
const OPEN_DISK: i32 = 104;
/// The metadata device cannot be opened.
const OPEN_META_DISK: i32 = 105;

/// The failure with what helps.
pub fn advise(command: &Command, arguments: &Arguments, mut failure: Failure) -> Failure {
    let more = match failure.driver {
        Some(OPEN_DISK) => devices(command, arguments, Operand::Disk),
        Some(OPEN_META_DISK) => devices(command, arguments, Operand::MetaDisk),
        Some(code) if code == Refusal::InUse.code() => {
            let users = minors(arguments).into_iter().map(busy::explain_minor);
            users.collect()
        }
        _ => String::new(),
    };
    failure.text.push_str(&more);
    failure.text.push_str(root_hint(&failure.text));
    failure
}

/// A remark for those who are not root and met a wall.
pub fn root_hint(text: &str) -> &'static str {
    let refused = ["Permission denied", "Operation not permitted"]
        .iter()
        .any(|reason| text.contains(reason));
    if refused && !rustix::process::geteuid().is_root() {
        "\nThis needs root: try again with 'sudo'."
    } else {
        ""
    }
}

fn devices(command: &Command, arguments: &Arguments, wanted: Operand) -> String {
    let given = command.operands.iter().zip(&arguments.operands);
    given
        .filter(|(operand, _)| **operand == wanted)
        .map(|(_, path)| busy::explain(path))
        .collect()
}

/// The minor, or all of the resource.
fn minors(arguments: &Arguments) -> Vec<u32> {
    if let Some(minor) = arguments.minor {
        return vec![minor];
    }
    let Some(name) = arguments.operands.first().cloned() else {
        return Vec::new();
    };
    let found = with_client(|client| Box::pin(snapshot::take(client, None)));
    let resources = found.unwrap_or_default().into_iter();
    resources
        .filter(|resource| resource.name == name)
        .flat_map(|resource| resource.volumes)
        .map(|volume| volume.minor)
        .collect()
}
