//! `Bash(…)`: commands that run others, and programs that do so by a language of their own.

use crate::commands::{against, under};
use crate::{Allowed, Denied, Said};

/// Each of these in front of a command runs it.
const WRAPPERS: &[&str] = &[
    "prlimit --nproc=10",
    "prlimit",
    "capsh --",
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-musl-x86_64.so.1 --library-path /lib",
    "ld.so",
    "linux64",
    "linux32 -R",
    "setarch x86_64",
    "setarch -R",
    "i386",
    "x86_64",
    "uname26",
    "start-stop-daemon --start --exec",
    "unshare -r",
    "nsenter -t 1 -m",
    "chroot /x",
    "runuser -u x --",
    "sg group",
    "script -c",
    "flock l",
    "ionice -c 3",
    "chrt -b 0",
    "taskset 1",
    "numactl --cpunodebind=0",
    "stdbuf -o L",
    "setpriv --no-new-privs",
    "daemonize /bin/x",
    "systemd-run --user",
    "parallel",
    "watch",
    "entr",
    "xargs -n 1",
    "busybox",
    "doas -u x",
    "pkexec",
    "firejail --quiet",
    "bwrap --bind / /",
    "proot -r x",
    "faketime now",
    "unbuffer",
    "rlwrap",
    "chronic",
    "hyperfine",
    "docker run image",
    "kubectl exec pod --",
    "ip netns exec x",
    "npm exec",
    "npm x --",
    "pnpm dlx",
    "bundle exec",
    "uv run",
    "poetry run",
    "conda run -n env",
    "cmake -E env",
    "nice ionice nohup setsid",
];

#[test]
fn no_wrapper_hides_what_is_forbidden() {
    let commands: Vec<String> = WRAPPERS.iter().map(|wrapper| format!("{wrapper} rm x")).collect();
    let rows: Vec<(&str, Said)> = commands.iter().map(|command| (command.as_str(), Denied)).collect();
    against("Bash(rm *)", &rows);
    let commands: Vec<String> = WRAPPERS.iter().map(|wrapper| format!("{wrapper} sh -c 'rm x'")).collect();
    let rows: Vec<(&str, Said)> = commands.iter().map(|command| (command.as_str(), Denied)).collect();
    against("Bash(rm *)", &rows);
}

#[test]
fn no_wrapper_that_is_allowed_runs_what_is_not() {
    for wrapper in WRAPPERS {
        let first = wrapper.split(' ').next().expect("a word");
        let command = format!("{wrapper} rm x");
        under(&format!("Bash({first} *)"), &[(&command, Denied)]);
    }
    under(
        "Bash(prlimit cargo *)\nBash(linux64 ls *)\nBash(docker ps *)",
        &[("prlimit cargo test", Allowed), ("prlimit rm", Denied), ("linux64 ls", Allowed), ("docker ps -a", Allowed)],
    );
    under(
        "Bash(npm *)\nBash(cmake *)\nBash(uv *)",
        &[
            ("npm test", Allowed),
            ("npm run build", Allowed),
            ("npm exec rm x", Denied),
            ("cmake -B out", Allowed),
            ("uv sync", Allowed),
        ],
    );
}

#[test]
fn nobody_looks_behind_hundreds_of_words() {
    let command = |words: usize| format!("nice{}", " x".repeat(words));
    against("Bash(rm *)", &[(&command(255), Allowed), (&command(256), Denied), (&command(50_000), Denied)]);
    against("Bash(rm *)", &[(&format!("ls{}", " x".repeat(1_000)), Allowed)]);
}

/// What runs another command by the program's own language, or by an option; and the like of it that does not.
const SPOKEN: &[(&str, Said)] = &[
    ("sed '1e rm x' y", Denied),
    ("sed -n '1e rm x' y", Denied),
    ("sed 's/a/rm x/e' y", Denied),
    ("sed -e 's/a/b/' -e '1e rm x' y", Denied),
    ("sed -ne'1e rm x' y", Denied),
    ("sed --expression='1e rm x' y", Denied),
    ("sed --expr '1e rm x' y", Denied),
    ("sed -E -e '1!e rm x' y", Denied),
    ("sed -f script y", Denied),
    ("sed --fil=script y", Denied),
    ("sed 's/a/b/;1e rm x' y", Denied),
    ("sed 's,a,b,;e' y", Denied),
    ("sed '/x/e' y", Denied),
    ("sed '{e\n}' y", Denied),
    ("sed 's/a\\/b/e/p' y", Allowed),
    ("sed 's/e/f/g' eee", Allowed),
    ("sed -i.bak 's|a/b|c|' y", Allowed),
    ("sed -n '10,20p' y", Allowed),
    ("sed -n -e '$p' y", Allowed),
    ("sed '/^#/d' y", Allowed),
    ("sed -E 's#a#b#gI' y", Allowed),
    ("awk 'BEGIN{system(x)}'", Denied),
    ("awk '{print | x}' y", Denied),
    ("awk '@load \"x\"'", Denied),
    ("awk -f x.awk y", Denied),
    ("gawk -i x y", Denied),
    ("awk -F: '{print $1}' y", Allowed),
    ("perl -e x", Denied),
    ("perl -E x", Denied),
    ("perl -pe x", Denied),
    ("perl -Mx=y z", Denied),
    ("python -c x", Denied),
    ("python3 -", Denied),
    ("ruby -e x", Denied),
    ("node -p x", Denied),
    ("node --import=x y", Denied),
    ("R -e x", Denied),
    ("python3 -m pytest", Allowed),
    ("vim -c '!rm x' y", Denied),
    ("vim y", Denied),
    ("ed y", Denied),
    ("emacs --batch --eval x", Denied),
    ("less '+!rm x' y", Denied),
    ("less y", Allowed),
    ("man -P 'rm x' y", Denied),
    ("man --pager='rm x' y", Denied),
    ("man y", Allowed),
    ("tar -cf x --checkpoint=1 --checkpoint-action=exec='rm x' y", Denied),
    ("tar -xf x --to-command='rm x'", Denied),
    ("tar -I 'rm x' -cf x y", Denied),
    ("tar cIf 'rm x' x y", Denied),
    ("tar --use-comp='rm x' -cf x y", Denied),
    ("tar -czf x y", Allowed),
    ("tar xzf x", Allowed),
    ("rsync -e 'rm x' a b", Denied),
    ("rsync -ave 'rm x' a b", Denied),
    ("rsync --rsh='rm x' a b", Denied),
    ("rsync -a --exclude=x a b", Allowed),
    ("ssh -o ProxyCommand='rm x' y", Denied),
    ("scp -o ProxyCommand='rm x' a b", Denied),
    ("scp -S ./x a b", Denied),
    ("scp a b", Allowed),
    ("sort --compress-program=./x y", Denied),
    ("sort -u y", Allowed),
    ("split --filter='rm x' y", Denied),
    ("zip -TT 'rm x' a b", Denied),
    ("zip -r a b", Allowed),
    ("make CC='rm x'", Denied),
    ("make --eval='x:;rm x'", Denied),
    ("make -f x", Denied),
    ("make test", Allowed),
    ("git -c 'alias.x=!rm x' x", Denied),
    ("gdb -batch -ex 'shell rm x'", Denied),
    ("socat - EXEC:'rm x'", Denied),
    ("nc -e x y 1", Denied),
    ("sqlite3 x '.shell rm x'", Denied),
    ("sqlite3 x '.sys rm x'", Denied),
    ("sqlite3 x \".read '|rm x'\"", Denied),
    ("sqlite3 x \".import '|rm x' y\"", Denied),
    ("sqlite3 x 'select 1' '.sh rm x'", Denied),
    ("sqlite3 x 'select edit (1, 2)'", Denied),
    ("sqlite3 x 'select 1'", Allowed),
    ("sqlite3 -header -csv ./x 'select 1'", Allowed),
    ("sqlite3 x .tables", Allowed),
    ("sqlite3 x", Denied),
    ("sqlite3 -separator , 'x y'", Denied),
    ("echo '.shell rm x' | sqlite3 y", Denied),
    ("psql -Xf x.sql", Denied),
    ("psql -c '\\i x.sql'", Denied),
    ("psql -c '\\d' -c 'select 1 \\g |x'", Denied),
    ("psql -c '\\d `rm x`'", Denied),
    ("psql -o '|rm x' -c 'select 1'", Denied),
    ("psql -d x", Denied),
    ("psql -dc", Denied),
    ("echo '\\! rm' | psql", Denied),
    ("psql -Xc 'select 1'", Allowed),
    ("psql -h x -c '\\dt'", Allowed),
    ("psql -l", Allowed),
    ("mysql -e 'system rm x'", Denied),
    ("mysql -e 'source x.sql'", Denied),
    ("mysql x", Denied),
    ("mysql --pager='rm x' -e 'select 1'", Denied),
    ("mysql -u x -e 'select 1'", Allowed),
    ("perl -nlwae 'x' y", Denied),
    ("perl -nlwe 'x' y", Denied),
    ("php -r'x'", Denied),
    ("php -nr 'x'", Denied),
    ("deno eval x", Denied),
    ("python3 /dev/stdin", Denied),
    ("python3 /dev/fd/0", Denied),
    ("python3 /proc/self/fd/0", Denied),
    ("echo x | python3 -u", Denied),
    ("python3 -W ignore", Denied),
    ("python3 --version", Allowed),
    ("python3 -u x.py", Allowed),
    ("gawk -bf x", Denied),
    ("awk -vfile=x '{print file}' y", Allowed),
    ("make -kf x.mk", Denied),
    ("make -j4 -C x test", Allowed),
    ("less -Nk x y", Denied),
    ("fd -HX rm", Denied),
    ("fd --exec=rm", Denied),
    ("fd -xrm", Denied),
    ("fd -H y", Allowed),
    ("psql -c '\\! rm x'", Denied),
    ("m4 x", Denied),
    ("su -c 'rm x'", Denied),
    ("busybox sh -c 'rm x'", Denied),
    ("toybox sh", Denied),
    ("prlimit sed '1e rm x' y", Denied),
    ("xargs sed -n 1p", Denied),
];

#[test]
fn what_a_program_can_be_told_to_run_is_in_doubt() {
    against("Bash(rm *)", SPOKEN);
}

#[test]
fn an_allowance_of_a_program_is_none_of_what_it_can_be_told_to_run() {
    let programs: std::collections::BTreeSet<&str> =
        SPOKEN.iter().filter_map(|(command, _)| command.split(' ').next()).filter(|name| *name != "git").collect();
    let allowed: Vec<String> = programs.iter().map(|name| format!("Bash({name} *)")).collect();
    under(&allowed.join("\n"), SPOKEN);
}
