//! `cargo xtask dist`: what a node is deployed from: a tarball, a Debian package, an image for containers.
//!
//! All three hold the same files (`Tree`), and are the same bytes for the same commit: times are those of the commit. The binary is static where
//! the compiler has the target for it; else it needs a C library as new as this machine's, which the name of the tarball and the package say.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::shell::{self, Project};

/// Without a C library of the machine's.
const STATIC: &str = "x86_64-unknown-linux-musl";

/// What lies beside the binary, as it is in `xtask/dist`, and where it goes.
const FILES: [(&str, &str); 3] = [
    ("sortie.service", "usr/lib/systemd/system/sortie.service"),
    ("sortie.toml", "etc/sortie/sortie.toml"),
    ("copyright", "usr/share/doc/sortie/copyright"),
];

/// What dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Where a package's documents are.
const DOCUMENTS: &str = "usr/share/doc/sortie";

/// Shells that find completions by themselves: how they are called, and where they look.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/sortie"),
    ("zsh", "usr/share/zsh/vendor-completions/_sortie"),
    ("fish", "usr/share/fish/vendor_completions.d/sortie.fish"),
];

/// What is asked for.
struct Wanted<'a> {
    /// A binary that is there; else one is built.
    binary: Option<&'a str>,
    /// What is made; all of it, where nothing is named.
    only: Vec<&'a str>,
    /// Where it is put.
    out: PathBuf,
    /// It is packed for a test: quickly rather than small.
    quick: bool,
}

impl<'a> Wanted<'a> {
    const KINDS: [&'static str; 3] = ["tarball", "deb", "image"];

    fn of(project: &Project, rest: &'a [String]) -> Result<Self, String> {
        let mut wanted = Self { binary: None, only: Vec::new(), out: project.target().join("dist"), quick: false };
        let mut rest = rest.iter();
        while let Some(option) = rest.next() {
            if option == "--quick" {
                wanted.quick = true;
                continue;
            }
            match (option.as_str(), rest.next()) {
                ("--binary", Some(binary)) => wanted.binary = Some(binary),
                ("--out", Some(out)) => wanted.out = out.into(),
                ("--only", Some(kind)) if Self::KINDS.contains(&kind.as_str()) => wanted.only.push(kind),
                ("--only", _) => return Err(format!("--only takes one of {}", Self::KINDS.join(", "))),
                (option, _) => return Err(format!("{option} takes a value")),
            }
        }
        Ok(wanted)
    }

    fn takes(&self, kind: &str) -> bool {
        self.only.is_empty() || self.only.contains(&kind)
    }
}

/// Makes what is asked for, and says where it is.
pub(crate) fn run(project: &Project, rest: &[String]) -> Result<(), String> {
    let wanted = Wanted::of(project, rest)?;
    let binary = match wanted.binary {
        Some(binary) => PathBuf::from(binary),
        None => built(project)?,
    };
    let dist = Dist::of(project, &binary)?;
    let tree = wanted.out.join("tree");
    empty(&tree)?;
    dist.fill(&tree)?;
    let mut made = Vec::new();
    for kind in Wanted::KINDS.into_iter().filter(|kind| wanted.takes(kind)) {
        made.push(match kind {
            "tarball" => dist.tarball(&tree, &wanted)?,
            "deb" => dist.deb(&tree, &wanted)?,
            _ => dist.image(&tree, &wanted.out)?,
        });
    }
    sums(&wanted.out, &made)
}

/// A release build; static, where that can be made.
fn built(project: &Project) -> Result<PathBuf, String> {
    crate::setup::plugins(project)?;
    let has_compiler = shell::works("musl-gcc", &["--version"]);
    let has_target = has_compiler && shell::works("rustup", &["target", "add", STATIC]);
    let target = if has_target { format!(" --target {STATIC}") } else { String::new() };
    if !has_target {
        eprintln!(
            "the binary will need this machine's C library or a newer one: for a static one install musl-tools, and have rustup \
             add {STATIC}"
        );
    }
    shell::run(&mut project.cargo_with(&format!("build --package sortie --release --locked{target}")))?;
    let folder = if has_target { project.target().join(STATIC) } else { project.target() };
    Ok(folder.join("release").join("sortie"))
}

/// What is packed.
struct Dist<'p> {
    project: &'p Project,
    binary: &'p Path,
    version: String,
    /// As Debian calls it: `amd64`.
    architecture: String,
    /// The C library that it needs at least; none where it is static.
    libc: Option<String>,
    maintainer: String,
    /// When the commit was made, in seconds since 1970.
    at: String,
}

impl<'p> Dist<'p> {
    fn of(project: &'p Project, binary: &'p Path) -> Result<Self, String> {
        let version = said(Command::new(binary).arg("--version"))?;
        let version = version.split_whitespace().last().ok_or("the binary does not say its version")?.to_owned();
        // Of a static one it says so, or that it is none of its kind, and fails.
        let loads = Command::new("ldd").arg(binary).output().map_err(|error| format!("ldd does not start: {error}"))?;
        let is_dynamic = String::from_utf8_lossy(&loads.stdout).contains("libc.so");
        let libc = if is_dynamic { Some(libc()?) } else { None };
        let at = match env::var("SOURCE_DATE_EPOCH") {
            Ok(at) => at,
            Err(_) => said(project_git(project).args(["log", "-1", "--format=%ct"]))?,
        };
        let architecture = match env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(Self {
            project,
            binary,
            version,
            architecture: architecture.to_owned(),
            libc,
            maintainer: maintainer(project)?,
            at,
        })
    }

    /// Puts all files where they go, below `tree`.
    fn fill(&self, tree: &Path) -> Result<(), String> {
        let own = self.project.root().join("xtask/dist");
        for (name, place) in FILES {
            copy(&own.join(name), &tree.join(place))?;
        }
        let program = tree.join("usr/bin/sortie");
        copy(self.binary, &program)?;
        // A release has no line tables, and names that only a debugger asks for are a fifth of it.
        shell::run(Command::new("strip").arg("--strip-unneeded").arg(&program))?;
        for document in documents(self.project.root())? {
            let name = document.file_name().unwrap_or_default();
            copy(&document, &tree.join(DOCUMENTS).join(name))?;
        }
        // The board and the alert rules.
        for file in entries(&self.project.root().join("docs/observability"))? {
            let name = file.file_name().unwrap_or_default();
            copy(&file, &tree.join(DOCUMENTS).join("observability").join(name))?;
        }
        let manual = tree.join("usr/share/man/man1");
        make(&manual)?;
        shell::run(Command::new(self.binary).arg("man").arg(&manual))?;
        for (shell, place) in SHELLS {
            write(&tree.join(place), &said(Command::new(self.binary).args(["completions", shell]))?)?;
        }
        write(&tree.join(DOCUMENTS).join("changelog"), &self.changelog()?)?;
        let mut pages: Vec<PathBuf> = entries(&manual)?;
        pages.push(tree.join(DOCUMENTS).join("changelog"));
        shell::run(Command::new("gzip").args(["-9", "-n", "-f"]).args(pages))?;
        modes(tree, &program)
    }

    /// In Debian's form; what is new for users is in the project's own.
    fn changelog(&self) -> Result<String, String> {
        let date = said(Command::new("date").env("LC_ALL", "C").args(["-R", "-u", "-d", &format!("@{}", self.at)]))?;
        let (version, maintainer) = (&self.version, &self.maintainer);
        Ok(format!(
            "sortie ({version}) unstable; urgency=medium\n\n  * What is new is in CHANGELOG.md.\n\n -- {maintainer}  {date}\n"
        ))
    }

    /// `sortie-VERSION-MACHINE.tar.gz`: to be unpacked over `/`, or anywhere.
    fn tarball(&self, tree: &Path, wanted: &Wanted<'_>) -> Result<PathBuf, String> {
        let needs = self.libc.as_ref().map_or_else(|| "linux-static".to_owned(), |libc| format!("linux-glibc{libc}"));
        let name = format!("sortie-{}-{}-{needs}", self.version, env::consts::ARCH);
        let file = wanted.out.join(format!("{name}.tar.gz"));
        let mut tar = Command::new("tar");
        tar.args([
            "--create",
            if wanted.quick { "--use-compress-program=gzip -1" } else { "--gzip" },
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
        ])
        .arg(format!("--mtime=@{}", self.at))
        .arg(format!("--transform=s,^\\.,{name},"))
        .arg("--file")
        .arg(&file)
        .arg("--directory")
        .arg(tree)
        .arg(".");
        shell::run(&mut tar)?;
        Ok(file)
    }

    /// `sortie_VERSION_ARCHITECTURE.deb`.
    fn deb(&self, tree: &Path, wanted: &Wanted<'_>) -> Result<PathBuf, String> {
        let (own, staged) = (self.project.root().join("xtask/dist"), wanted.out.join("deb"));
        empty(&staged)?;
        shell::run(Command::new("cp").arg("-a").arg(tree.join(".")).arg(&staged))?;
        let control = staged.join("DEBIAN");
        make(&control)?;
        let depends = self.libc.as_ref().map(|libc| format!("libc6 (>= {libc}), libgcc-s1, ")).unwrap_or_default();
        let kib = said(Command::new("du").args(["-sk", "--apparent-size"]).arg(tree))?;
        let kib = kib.split_whitespace().next().unwrap_or("0").to_owned();
        let mut text = read(&own.join("control"))?;
        for (name, value) in [
            ("VERSION", &self.version),
            ("ARCHITECTURE", &self.architecture),
            ("MAINTAINER", &self.maintainer),
            ("KIB", &kib),
            ("DEPENDS", &depends),
        ] {
            text = text.replace(&format!("@{name}@"), value);
        }
        write(&control.join("control"), &text)?;
        write(&control.join("conffiles"), "/etc/sortie/sortie.toml\n")?;
        for script in SCRIPTS {
            copy(&own.join(script), &control.join(script))?;
            mode(&control.join(script), "0755")?;
        }
        let files = said(Command::new("find").current_dir(&staged).args(["usr", "-type", "f"]))?;
        let mut files: Vec<&str> = files.lines().collect();
        files.sort_unstable();
        write(
            &control.join("md5sums"),
            &format!("{}\n", said(Command::new("md5sum").current_dir(&staged).args(files))?),
        )?;
        mode(&control.join("md5sums"), "0644")?;
        let file = wanted.out.join(format!("sortie_{}_{}.deb", self.version, self.architecture));
        let mut build = Command::new("dpkg-deb");
        build.arg(if wanted.quick { "-Zgzip" } else { "-Zxz" }).arg(if wanted.quick { "-z1" } else { "-z6" });
        build.args(["--root-owner-group", "--build"]).arg(&staged).arg(&file).env("SOURCE_DATE_EPOCH", &self.at);
        shell::run(&mut build)?;
        Ok(file)
    }

    /// `sortie-VERSION-image.tar`, an archive of the Open Container Initiative: nothing in it but the node, and whom it believes.
    fn image(&self, tree: &Path, out: &Path) -> Result<PathBuf, String> {
        let staged = out.join("image");
        empty(&staged)?;
        for place in ["usr/bin/sortie", "etc/sortie/sortie.toml", "usr/share/doc/sortie/copyright"] {
            copy(&tree.join(place), &staged.join(place))?;
        }
        // Nothing is reached over TLS without whom to believe: those of the build machine, where a node looks for them.
        copy(Path::new(CERTIFICATES), &staged.join(CERTIFICATES.trim_start_matches('/'))).map_err(|error| {
            format!("{error}; the image needs the certificates of authorities: install ca-certificates")
        })?;
        if self.libc.is_some() {
            libraries(self.binary, &staged)?;
        }
        modes(&staged, &staged.join("usr/bin/sortie"))?;
        for (folder, bits) in [("var/lib/sortie", "0700"), ("tmp", "1777")] {
            make(&staged.join(folder))?;
            mode(&staged.join(folder), bits)?;
        }
        let file = out.join(format!("sortie-{}-image.tar", self.version));
        let _ = fs::remove_file(&file);
        let mut buildah = Command::new("sh");
        buildah
            .args(["-euc", IMAGE, "sh"])
            .arg(&staged)
            .arg(&file)
            .args([&self.version, &self.at])
            // Without a daemon, and without rights that a build machine may not have.
            .env("STORAGE_DRIVER", "vfs")
            .env("BUILDAH_ISOLATION", "chroot");
        shell::run(&mut buildah).map_err(|error| format!("{error}; images need buildah"))?;
        Ok(file)
    }
}

/// The certificates of the authorities that a machine believes, where Debian has them in one file.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Makes the image, of the files in `$1`, as the archive `$2` of the version `$3`, as of `$4`. It runs as a user whom no machine knows.
const IMAGE: &str = "\
container=$(buildah from scratch)
trap 'buildah rm \"$container\" >/dev/null' EXIT
buildah copy --quiet --chown 10001:10001 \"$container\" \"$1\" /
buildah config --user 10001:10001 --port 7433 --volume /var/lib/sortie --env TMPDIR=/tmp --label org.opencontainers.image.version=\"$3\" \\
    --entrypoint '[\"/usr/bin/sortie\", \"--config\", \"/etc/sortie/sortie.toml\"]' --cmd 'serve --listen 0.0.0.0:7433' \"$container\"
buildah commit --quiet --timestamp \"$4\" \"$container\" \"oci-archive:$2:sortie:$3\" >/dev/null
";

/// Who answers for a package: `DIST_MAINTAINER`, or whoever made the commit.
fn maintainer(project: &Project) -> Result<String, String> {
    match env::var("DIST_MAINTAINER") {
        Ok(maintainer) => Ok(maintainer),
        Err(_) => said(project_git(project).args(["log", "-1", "--format=%an <%ae>"])),
    }
}

/// This machine's C library, as Debian counts: a binary that was linked here needs no newer one.
fn libc() -> Result<String, String> {
    let told = said(Command::new("ldd").arg("--version"))?;
    let version = told.lines().next().and_then(|line| line.split_whitespace().last());
    version.map(str::to_owned).ok_or_else(|| "ldd does not say its version".to_owned())
}

/// The libraries that a binary loads, where it looks for them.
fn libraries(binary: &Path, staged: &Path) -> Result<(), String> {
    for line in said(Command::new("ldd").arg(binary))?.lines() {
        let path = line.split_whitespace().find(|word| word.starts_with('/'));
        if let Some(path) = path {
            copy(Path::new(path), &staged.join(path.trim_start_matches('/')))?;
        }
    }
    Ok(())
}

/// The documents for users.
fn documents(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    let is_one = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "md" || kind == "toml");
    found.extend(entries(&root.join("docs"))?.into_iter().filter(is_one));
    Ok(found)
}

/// The sums of what was made, beside it.
fn sums(out: &Path, made: &[PathBuf]) -> Result<(), String> {
    let names = made.iter().filter_map(|file| file.file_name());
    let sums = said(Command::new("sha256sum").current_dir(out).args(names))?;
    write(&out.join("SHA256SUMS"), &format!("{sums}\n"))?;
    for line in sums.lines() {
        eprintln!("{line}");
    }
    eprintln!("in {}", out.display());
    Ok(())
}

/// Everything is for everybody to read, and one file to run, whatever this machine's own habits are.
fn modes(tree: &Path, program: &Path) -> Result<(), String> {
    shell::run(Command::new("chmod").arg("-R").arg("u=rwX,go=rX").arg(tree))?;
    shell::run(Command::new("find").arg(tree).args(["-type", "f", "-exec", "chmod", "0644", "{}", "+"]))?;
    mode(program, "0755")?;
    let loaders = said(Command::new("find").arg(tree).args(["-name", "ld-*.so*", "-type", "f"]))?;
    loaders.lines().try_for_each(|loader| mode(Path::new(loader), "0755"))
}

fn mode(path: &Path, bits: &str) -> Result<(), String> {
    shell::run(Command::new("chmod").arg(bits).arg(path))
}

fn project_git(project: &Project) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(project.root());
    git
}

/// What a command prints.
fn said(command: &mut Command) -> Result<String, String> {
    let shown = shell::shown(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("`{shown}` does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{shown}` ended with {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn empty(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", folder.display())),
        _ => make(folder),
    }
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    file.parent().map_or(Ok(()), make)?;
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    to.parent().map_or(Ok(()), make)?;
    fs::copy(from, to).map(drop).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}
