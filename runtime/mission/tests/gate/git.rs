//! `Bash(git *)`: commands of git's that run another program, which is named in their words; and tools that are often allowed as a whole.

use crate::commands::{against, under};
use crate::{Allowed, Denied, Said};

/// Under `Bash(git *)`.
const GIT: &[(&str, Said)] = &[
    // Its configuration.
    ("git config alias.x '!rm x'", Denied),
    ("git config --global alias.x '!rm x'", Denied),
    ("git config ALIAS.x y", Denied),
    ("git config set alias.x '!rm x'", Denied),
    ("git config core.editor ./e", Denied),
    ("git config core.pager ./e", Denied),
    ("git config core.sshCommand ./e", Denied),
    ("git config core.hooksPath ./e", Denied),
    ("git config --replace-all core.hookspath ./e", Denied),
    ("git config core.fsmonitor ./e", Denied),
    ("git config diff.external ./e", Denied),
    ("git config diff.x.textconv ./e", Denied),
    ("git config filter.x.clean ./e", Denied),
    ("git config --add filter.x.smudge ./e", Denied),
    ("git config merge.x.driver ./e", Denied),
    ("git config credential.helper '!rm x'", Denied),
    ("git config gpg.program ./e", Denied),
    ("git config remote.x.uploadpack ./e", Denied),
    ("git config url.ext::x.insteadOf y", Denied),
    ("git config include.path ./e", Denied),
    ("git config protocol.ext.allow always", Denied),
    ("git config core.worktree /", Denied),
    ("git config --type path core.pager ./e", Denied),
    ("git config -f .gitmodules submodule.x.update '!rm x'", Denied),
    ("git config --file user.name alias.x '!rm x'", Denied),
    ("git config -- alias.x y", Denied),
    ("git config --get x --add alias.x y", Denied),
    ("git config --unset user.name", Allowed),
    ("git config -e", Denied),
    ("git config edit", Denied),
    ("git config --rename-section color alias", Denied),
    ("git config rename-section color alias", Denied),
    ("git config", Allowed),
    ("git config --list --show-origin", Allowed),
    ("git config -l", Allowed),
    ("git config list", Allowed),
    ("git config --get alias.x", Allowed),
    ("git config --get-regexp '^alias'", Allowed),
    ("git config get core.pager", Allowed),
    ("git config core.editor", Allowed),
    ("git config user.name 'A. B'", Allowed),
    ("git config --global user.email a@b.example", Allowed),
    ("git config set pull.rebase true", Allowed),
    ("git config --bool color.ui true", Allowed),
    // Settings before its command.
    ("git -c alias.x='!rm x' x", Denied),
    ("git -ccore.pager=./e log", Denied),
    ("git --config-env=core.pager=E log", Denied),
    ("git --exec-path=. x", Denied),
    ("git -C x config alias.x y", Denied),
    ("git --git-dir=x status", Denied),
    ("GIT_PAGER=./e git log", Denied),
    ("GIT_SSH_COMMAND=./e git fetch", Denied),
    ("env GIT_EDITOR=./e git commit", Denied),
    // Commands that run others.
    ("git rebase --exec 'rm x' main", Denied),
    ("git rebase --ex='rm x' main", Denied),
    ("git rebase -i -x 'rm x' main", Denied),
    ("git bisect run rm x", Denied),
    ("git bisect start", Allowed),
    ("git submodule foreach 'rm x'", Denied),
    ("git submodule --quiet foreach --recursive 'rm x'", Denied),
    ("git submodule--helper foreach 'rm x'", Denied),
    ("git submodule update --init --remote", Allowed),
    ("git filter-branch --tree-filter 'rm x' HEAD", Denied),
    ("git filter-branch", Denied),
    ("git filter-repo --blob-callback x", Denied),
    ("git difftool -x ./e", Denied),
    ("git difftool -yx ./e", Denied),
    ("git difftool --extcmd=./e", Denied),
    ("git grep -O./e x", Denied),
    ("git grep --open-files=./e x", Denied),
    ("git grep -e 'a::b'", Allowed),
    ("git archive --exec=./e --remote=x HEAD", Denied),
    ("git archive --remote=x HEAD", Denied),
    ("git archive --rem x HEAD", Denied),
    ("git archive --format=tar HEAD", Allowed),
    ("git merge-index ./e -a", Denied),
    ("git for-each-repo --config=x y", Denied),
    ("git maintenance start", Denied),
    ("git maintenance run", Allowed),
    ("git send-email --sendmail-cmd=./e x", Denied),
    ("git instaweb --httpd=./e", Denied),
    ("git web--browse -t x y", Denied),
    ("git daemon --access-hook=./e", Denied),
    ("git shell -c x", Denied),
    // Addresses with a program of their own.
    ("git clone 'ext::sh -c ./e'", Denied),
    ("git fetch ext::./e", Denied),
    ("git pull 'ext::sh -c ./e' main", Denied),
    ("git push ext::./e main", Denied),
    ("git ls-remote ext::./e", Denied),
    ("git remote add x ext::./e", Denied),
    ("git submodule add ext::./e x", Denied),
    ("git clone fd::3", Denied),
    ("git remote-ext x ./e", Denied),
    ("git clone https://example.com/x.git", Allowed),
    ("git clone 'ssh://git@[::1]/x'", Allowed),
    ("git push origin main", Allowed),
    ("git fetch --upload-pack=./e x", Denied),
    ("git fetch --upload ./e x", Denied),
    ("git ls-remote --exec=./e x", Denied),
    ("git ls-remote -u ./e x", Denied),
    ("git ls-remote --tags x", Allowed),
    ("git push --receive-pack=./e x", Denied),
    ("git push --receive ./e x", Denied),
    ("git pull --upload-pack ./e x", Denied),
    ("git clone --upload-pack=./e x", Denied),
    ("git clone -c core.pager=./e x", Denied),
    ("git clone --config core.pager=./e x", Denied),
    ("git clone --template=./t x", Denied),
    ("git init --template=./t", Denied),
    ("git log -S 'x::y'", Allowed),
    ("git worktree add ../x", Allowed),
    ("git commit -m 'ext::x'", Allowed),
];

#[test]
fn an_allowance_of_git_is_none_of_what_it_can_be_told_to_run() {
    under("Bash(git *)", GIT);
}

#[test]
fn whoever_names_the_setting_leaves_its_value_open() {
    under(
        "Bash(git config alias.x *)\nBash(git config user.name *)\nBash(git config core.pager less)",
        &[
            ("git config alias.x '!rm x'", Denied),
            ("git config alias.x", Allowed),
            ("git config user.name Ada", Allowed),
            ("git config core.pager less", Allowed),
            ("git config core.pager lesser", Denied),
        ],
    );
}

#[test]
fn what_git_can_be_told_to_run_is_in_doubt_for_prohibitions() {
    against(
        "Bash(rm *)",
        &[
            ("git clone 'ext::rm x'", Denied),
            ("git -C x fetch ext::x", Denied),
            ("git merge-index rm -a", Denied),
            ("git config alias.x '!rm x'", Denied),
            ("git commit -m shell", Allowed),
            ("git log -S 'a::b'", Allowed),
            ("git log daemon", Allowed),
            ("git push origin main", Allowed),
        ],
    );
}

/// Under an allowance of each as a whole.
const OTHERS: &[(&str, Said)] = &[
    ("cargo --config 'build.rustc-wrapper=\"./e\"' build", Denied),
    ("cargo build --config=x.toml", Denied),
    ("cargo test --workspace", Allowed),
    ("npm config set script-shell ./e", Denied),
    ("npm set script-shell ./e", Denied),
    ("npm --script-shell=./e test", Denied),
    ("npm test --script-shell ./e", Denied),
    ("npm explore x -- rm y", Denied),
    ("npm config get registry", Allowed),
    ("npm run build", Allowed),
    ("pnpm config set script-shell ./e", Denied),
    ("make SHELL=./e", Denied),
    ("make -fx", Denied),
    ("make --eval=x", Denied),
    ("make -j4 all", Allowed),
    ("tar xf x --use-compress-program ./e", Denied),
    ("rsync -e ./e a b", Denied),
    ("ssh -o ProxyCommand=./e x", Denied),
    ("sftp -b x y", Denied),
    ("sed 'w x' y", Denied),
    ("sed 's/a/b/w x' y", Denied),
    ("find . -fprintf x y", Denied),
    ("find . -delete", Denied),
    ("find . -name x", Allowed),
    ("sort --compress-program ./e x", Denied),
    ("curl -o x https://example.com", Denied),
    ("curl -sSLo x https://example.com", Denied),
    ("curl -O https://example.com/x", Denied),
    ("curl --output=x https://example.com", Denied),
    ("curl -K x", Denied),
    ("curl --conf x", Denied),
    ("curl --cookie-jar x https://example.com", Denied),
    ("curl -D x https://example.com", Denied),
    ("curl -so /dev/null -w x https://example.com", Allowed),
    ("curl -so/dev/null https://example.com", Allowed),
    ("curl -o - https://example.com", Allowed),
    ("curl -XPOST -HOrigin:x https://example.com", Allowed),
    ("curl -fsSL https://example.com", Allowed),
    ("wget -O x https://example.com", Denied),
    ("wget -qO- https://example.com", Allowed),
    ("wget -qO - https://example.com", Allowed),
    ("wget -P / https://example.com", Denied),
    ("wget --use-askpass=./e https://example.com", Denied),
    ("wget -e use_askpass=./e https://example.com", Denied),
    ("wget --output-document=x https://example.com", Denied),
    ("wget https://example.com/x", Allowed),
    ("rg --pre ./e x", Denied),
    ("rg --pretty x", Allowed),
    ("bat --pager=./e x", Denied),
    ("gcc -wrapper ./e x.c", Denied),
    ("gcc -fplugin=./e.so x.c", Denied),
    ("gcc -O2 -fPIC x.c", Allowed),
    ("go test -exec ./e ./...", Denied),
    ("go build -toolexec=./e", Denied),
    ("go test ./...", Allowed),
    ("hg --config alias.x=y x", Denied),
    ("svn diff --diff-cmd ./e", Denied),
    ("pandoc -F ./e x", Denied),
    ("pandoc -f markdown x", Allowed),
    ("pdflatex -shell-escape x", Denied),
    ("apt-get -o APT::Update::Pre-Invoke::=./e update", Denied),
    ("apt-get install -y x", Allowed),
    ("gh alias set x '!rm x'", Denied),
    ("gh pr list", Allowed),
];

#[test]
fn an_allowance_of_a_tool_is_none_of_what_it_can_be_told_to_run_or_to_write() {
    let programs: std::collections::BTreeSet<&str> =
        OTHERS.iter().filter_map(|(command, _)| command.split(' ').next()).collect();
    let allowed: Vec<String> = programs.iter().map(|name| format!("Bash({name} *)")).collect();
    under(&allowed.join("\n"), OTHERS);
}

#[test]
fn whoever_names_a_file_to_write_to_means_that_one() {
    under(
        "Bash(curl -sSo out.tgz *)",
        &[
            ("curl -sSo out.tgz https://example.com", Allowed),
            ("curl -sSo out.tgz -o x https://example.com", Denied),
            ("curl -sSo x https://example.com", Denied),
        ],
    );
    // A file that is written is none that a prohibition of another command means.
    against(
        "Bash(rm *)",
        &[("curl -o rm https://example.com", Allowed), ("curl -K x", Denied), ("wget -O rm x", Allowed)],
    );
}
