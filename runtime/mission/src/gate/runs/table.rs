//! The names of commands that run others, by how they do: what `runs` goes by. Each list is in order.

use super::{Language, Options, Runs, Writes};

/// Their first operand is the command.
const NEXT: &[&str] = &[
    "aa-exec",
    "aarch64",
    "alpha",
    "armv7l",
    "armv8l",
    "athlon",
    "box64",
    "builtin",
    "bunx",
    "busybox",
    "bwrap",
    "caffeinate",
    "catatonit",
    "catchsegv",
    "cgexec",
    "chpst",
    "chronic",
    "command",
    "cpulimit",
    "daemon",
    "daemonize",
    "dbus-launch",
    "dbus-run-session",
    "doas",
    "dumb-init",
    "eatmydata",
    "env",
    "exec",
    "fakechroot",
    "fakeroot",
    "firejail",
    "gdbserver",
    "gosu",
    "heaptrack",
    "hyperfine",
    "i386",
    "i486",
    "i586",
    "i686",
    "ia64",
    "ifne",
    "ionice",
    "linux32",
    "linux64",
    "lockrun",
    "ltrace",
    "mips",
    "mips32",
    "mips64",
    "nice",
    "nocache",
    "nohup",
    "npx",
    "nsenter",
    "numactl",
    "parisc",
    "parisc64",
    "perf",
    "pipx",
    "pkexec",
    "pnpx",
    "ppc",
    "ppc32",
    "ppc64",
    "ppc64le",
    "prlimit",
    "proot",
    "proxychains",
    "proxychains4",
    "pseudo",
    "qemu-aarch64",
    "qemu-x86_64",
    "rlwrap",
    "run0",
    "runcon",
    "s390",
    "s390x",
    "sandbox-exec",
    "schedtool",
    "setlock",
    "setpriv",
    "setsid",
    "setuidgid",
    "softlimit",
    "sparc",
    "sparc64",
    "ssh-agent",
    "stdbuf",
    "strace",
    "su-exec",
    "sudo",
    "systemd-inhibit",
    "systemd-nspawn",
    "systemd-run",
    "time",
    "tini",
    "torify",
    "torsocks",
    "toybox",
    "trickle",
    "uftrace",
    "uname26",
    "unbuffer",
    "unshare",
    "uvx",
    "valgrind",
    "wine",
    "x86_64",
    "xvfb-run",
];

/// One operand more stands before it: a lock, a folder, a number.
const AFTER_ONE: &[&str] = &[
    "arch-chroot",
    "chroot",
    "chrt",
    "envdir",
    "envuidgid",
    "faketime",
    "flock",
    "lockf",
    "pgrphack",
    "runuser",
    "setarch",
    "taskset",
    "with-lock-ex",
];

/// A script, a text, or what they read.
const SHELLS: &[&str] = &[
    "ash", "bash", "csh", "dash", "elvish", "fish", "ksh", "mksh", "nu", "oksh", "osh", "posh", "pwsh", "rbash", "sh",
    "tcsh", "xonsh", "yash", "zsh",
];

/// A text that a shell runs, or what is said to them: nobody tells it from their words.
const TEXT: &[&str] = &[
    "abduco",
    "at",
    "autossh",
    "batch",
    "byobu",
    "capsh",
    "clush",
    "crontab",
    "dc",
    "dtach",
    "ed",
    "emacs",
    "emacsclient",
    "entr",
    "ex",
    "expect",
    "fzf",
    "gdb",
    "gvim",
    "lldb",
    "m4",
    "machinectl",
    "mosh",
    "nc",
    "ncat",
    "netcat",
    "newgrp",
    "nodemon",
    "nq",
    "nvim",
    "parallel",
    "pdsh",
    "pee",
    "pueue",
    "rsh",
    "rvim",
    "screen",
    "script",
    "sem",
    "sg",
    "socat",
    "ssh",
    "sshpass",
    "start-stop-daemon",
    "su",
    "sudoedit",
    "tmux",
    "tsp",
    "vi",
    "view",
    "vim",
    "vimdiff",
    "visudo",
    "watch",
    "watchexec",
];

/// Languages.
const CODE: &[&str] = &[
    "bun",
    "clisp",
    "deno",
    "elixir",
    "erl",
    "ghci",
    "gjs",
    "gnuplot",
    "groovy",
    "guile",
    "iex",
    "irb",
    "jruby",
    "jshell",
    "julia",
    "jython",
    "lua",
    "luajit",
    "node",
    "nodejs",
    "octave",
    "osascript",
    "perl",
    "php",
    "pypy",
    "python",
    "qjs",
    "r",
    "racket",
    "raku",
    "rscript",
    "ruby",
    "sbcl",
    "scala",
    "tclsh",
    "ts-node",
    "tsx",
    "wish",
];

const FIND: Options =
    Options(&["-delete", "-exec", "-execdir", "-fls", "-fprint", "-fprint0", "-fprintf", "-ok", "-okdir"]);
const FD: Options = Options(&["-x", "-X", "--exec", "--exec-batch"]);
/// In a container, in another network: still a command.
const WITHIN: Options = Options(&["create", "debug", "exec", "run"]);

/// A program of a package, by its name; and what it runs from then on (`npm config set script-shell …`).
const OF_PACKAGE: Options = Options(&["dlx", "edit", "exec", "explore", "set", "x"]);
/// In an environment of its own.
const INSIDE: Options = Options(&["run"]);
const AS_TOOL: Options = Options(&["-E"]);
/// What curl writes, or keeps; a download of wget's that goes elsewhere than it says.
const CURL: Writes = Writes {
    options: Options(&[
        "-D",
        "-c",
        "-o",
        "--alt-svc",
        "--cookie-jar",
        "--dump-header",
        "--etag-save",
        "--hsts",
        "--libcurl",
        "--output",
        "--output-dir",
        "--ssl-sessions",
        "--stderr",
        "--trace",
        "--trace-ascii",
    ]),
    flags: Options(&["-O", "--remote-name", "--remote-name-all"]),
    texts: Options(&["-w", "--write-out"]),
    values: "ACDEFHKPQTUXYbcdehmortuwxyz",
};
const WGET: Writes = Writes {
    options: Options(&[
        "-O",
        "-P",
        "-a",
        "-o",
        "--append-output",
        "--directory-prefix",
        "--hsts-file",
        "--output-document",
        "--output-file",
        "--rejected-log",
        "--save-cookies",
        "--warc-file",
    ]),
    flags: NONE,
    texts: NONE,
    values: "ABDGIOPQRTUXaeilotuw",
};
const NONE: Options = Options(&[]);
/// Commands of its own, from then on; and what it hands on to git or to ssh.
const GH: Writes = Writes {
    options: NONE,
    flags: Options(&["--", "alias", "config", "ext", "extension", "extensions"]),
    texts: NONE,
    values: "",
};

const TABLE: [(Runs, &[&str]); 24] = [
    (Runs::Next, NEXT),
    (Runs::AfterOne, AFTER_ONE),
    (Runs::Shell, SHELLS),
    (Runs::Text, TEXT),
    (Runs::Fed, &["xargs"]),
    (Runs::Duration, &["gtimeout", "timeout"]),
    (Runs::Git, &["git"]),
    (Runs::ByOption(FIND), &["find", "gfind"]),
    (Runs::ByOption(FD), &["fd", "fdfind"]),
    (Runs::ByOption(WITHIN), &["buildah", "crictl", "ctr", "docker", "ip", "kubectl", "lxc", "nerdctl", "podman"]),
    (Runs::ByOption(OF_PACKAGE), &["bundle", "direnv", "mise", "npm", "pnpm", "yarn"]),
    (Runs::ByOption(INSIDE), &["conda", "hatch", "mamba", "micromamba", "pdm", "pipenv", "poetry", "rye", "uv"]),
    (Runs::ByOption(AS_TOOL), &["cmake"]),
    (Runs::Tame(CURL), &["curl"]),
    (Runs::Tame(GH), &["gh"]),
    (Runs::Tame(WGET), &["wget"]),
    (Runs::Speaks(Language::Code), CODE),
    (Runs::Speaks(Language::Awk), &["awk", "gawk", "goawk", "mawk", "nawk", "original-awk"]),
    (Runs::Speaks(Language::Sed), &["gsed", "sed", "ssed"]),
    (Runs::Speaks(Language::Make), &["bmake", "gmake", "make"]),
    (Runs::Speaks(Language::Mysql), &["mariadb", "mysql"]),
    (Runs::Speaks(Language::Psql), &["psql"]),
    (Runs::Speaks(Language::Sqlite), &["duckdb", "sqlite", "sqlite3"]),
    (Runs::Speaks(Language::Pager), &["less", "more", "most"]),
];

/// What a command of this name runs; it is in lower case.
pub(super) fn named(name: &str) -> Runs {
    let found = |name: &str| TABLE.iter().find(|(_, names)| names.binary_search(&name).is_ok()).map(|(runs, _)| *runs);
    found(name).unwrap_or_else(|| {
        if is_loader(name) {
            return Runs::Next;
        }
        // `python3.12` is `python`.
        let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
        match found(plain) {
            Some(kind @ (Runs::Speaks(Language::Code) | Runs::Shell)) => kind,
            _ => Runs::Nothing,
        }
    })
}

/// `ld-linux-x86-64.so.2`, `ld-musl-x86_64.so.1`, `ld.so`: what starts programs starts the one that it is given.
fn is_loader(name: &str) -> bool {
    name.starts_with("ld") && name.contains(".so")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_is_in_order_and_no_name_is_in_two() {
        let mut all: alloc::vec::Vec<&str> = TABLE.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        assert!(TABLE.iter().all(|(_, names)| names.is_sorted()));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
