//! Terminals that tests sit at: a pseudo-terminal of so many columns, and what a command shows and asks there.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A terminal, from the side of who sits at it.
pub struct Terminal {
    /// What is typed and seen.
    pub screen: File,
    other: OwnedFd,
}

impl Terminal {
    /// A new one.
    ///
    /// # Panics
    /// If the machine has none to give.
    #[must_use]
    pub fn open(columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal of ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let other = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its other side");
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&other, size).expect("a terminal has a size");
        Self { screen: master.into(), other }
    }

    /// The side of the commands.
    ///
    /// # Panics
    /// If there is no room for one more file.
    #[must_use]
    pub fn end(&self) -> Stdio {
        Stdio::from(self.other.try_clone().expect("a file"))
    }
}

/// Runs a command at a terminal and types that into it: its exit code, and all that was seen, with what was typed.
///
/// # Panics
/// If the command does not start.
pub async fn at_a_terminal(mut command: Command, columns: u16, typed: &str) -> (Option<i32>, String) {
    let typed = typed.to_owned();
    let ended = tokio::task::spawn_blocking(move || {
        let Terminal { mut screen, other } = Terminal::open(columns);
        let end = || Stdio::from(other.try_clone().expect("a file"));
        command.env_remove("NO_COLOR").env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
        let mut child = command.spawn().expect("the binary starts");
        // The terminal ends with the last who holds its other side: the command.
        drop((command, other));
        screen.write_all(typed.as_bytes()).expect("a terminal takes what is typed");
        let (mut seen, mut more) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = screen.read(&mut more) {
            seen.extend_from_slice(&more[..read]);
        }
        let ended = child.wait().expect("a child can be waited for");
        (ended.code(), String::from_utf8_lossy(&seen).replace("\r\n", "\n"))
    });
    ended.await.expect("no panic")
}

/// What is seen, without the colours: lines of characters.
#[must_use]
pub fn without_colours(seen: &str) -> String {
    let mut plain = String::new();
    let mut rest = seen;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.find(|c: char| c.is_ascii_alphabetic()).map_or("", |end| &after[end + 1..]);
    }
    plain + rest
}
