//! Commands that try to get out, to look out or to harm: a table, each row with what it tries. A row that succeeds prints `PWNED`; each prints
//! `TRIED` at its end, so that a program that is not there does not make a test pass.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::{fs, net};

use crate::world::{TOKEN, World};

/// What rows of Python have at hand. `sys` is a bare system call: its result, or minus its error.
const PYTHON: &str = r#"
import ctypes, errno, fcntl, os, socket, sys as system, mmap
libc = ctypes.CDLL(None, use_errno=True)
def sys(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *[a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments])
    return -ctypes.get_errno() if result == -1 else result
def pwned(what): print("PWNED", what)
def tried(attempt, *arguments):
    try: attempt(*arguments)
    except (OSError, ValueError) as error: print("no:", error)
    else: pwned(attempt)
"#;

/// Runs a row. `{NAMES}` stand for what the world knows. What is wrong with what came of it.
async fn attempt(world: &World, name: &str, names: &[(&str, String)], command: &str) -> Option<String> {
    let mut command = command.to_owned();
    for (key, value) in names {
        command = command.replace(&format!("{{{key}}}"), value);
    }
    let ran = world.run(&command).await;
    let said = format!("{}{}", ran.stdout, ran.stderr);
    let is_well = ran.stdout.ends_with("TRIED\n") && !said.contains("PWNED") && !said.contains(TOKEN);
    (!is_well).then(|| format!("{name}: {ran:#?}"))
}

/// In the shell.
#[rustfmt::skip]
const SHELL: &[(&str, &str)] = &[
    ("the token, by its path", "cat {DATA}/token && echo PWNED"),
    ("the token, upwards", "cat ../../token ../../../token /workspace/../../token && echo PWNED"),
    ("the token, through the roots of processes", "for p in /proc/[0-9]*; do cat $p/root{DATA}/token $p/cwd/../../token; done | grep . && echo PWNED"),
    ("the journal", "echo x >> {DATA}/journal.redb && echo PWNED"),
    ("other workspaces, to read", "cat {DATA}/workspaces/other/secret.txt ../other/secret.txt && echo PWNED"),
    ("other workspaces, to write", "echo x > ../other/new && echo PWNED; echo x > {DATA}/workspaces/other/new && echo PWNED; mkdir ../new && echo PWNED"),
    ("artifacts", "ls {DATA}/artifacts && echo PWNED"),
    ("the environment of the node", "cat /proc/{NODE}/environ && echo PWNED"),
    ("the memory and files of the node", "ls /proc/{NODE}/fd /proc/{NODE}/mem /proc/{NODE}/maps && echo PWNED"),
    ("the environment and memory of the first process", "cat /proc/1/environ /proc/1/maps 2>/dev/null | grep -a . && echo PWNED"),
("processes of others", "[ $(ls -d /proc/[0-9]* | wc -l) -lt 6 ] || echo PWNED; cat /proc/[0-9]*/comm | sort -u | grep -v -x -e bash -e cat -e sort -e grep -e exe -e 'sortie-confine' && echo PWNED"),
    ("the port of the node", "(exec 3<>/dev/tcp/127.0.0.1/{TCP}) && echo PWNED"),
    ("the password file", "cat /etc/shadow && echo PWNED"),
    ("homes", "ls /root /home && echo PWNED"),
    ("settings of the kernel", "echo x > /proc/sys/kernel/core_pattern && echo PWNED; echo h > /proc/sysrq-trigger && echo PWNED"),
    ("the tree of devices", "ls /sys/class && echo PWNED"),
    ("devices", "cat /dev/mem /dev/kmsg /dev/vda /dev/tty && echo PWNED; mknod m c 1 1 && echo PWNED; mknod b b 254 0 && echo PWNED; ls /dev | grep -v -x -e null -e zero -e full -e random -e urandom -e fd -e shm -e 'std.*' && echo PWNED"),
    ("programs of the system", "echo x > /usr/bin/env && echo PWNED; chmod 777 /usr/bin/env && echo PWNED; touch /usr/bin/env && echo PWNED; rm /usr/bin/env && echo PWNED; echo x > /bin/new && echo PWNED"),
    ("settings of the system", "echo x >> /etc/passwd && echo PWNED; echo x > /etc/new && echo PWNED; echo x > /new && echo PWNED"),
    ("writing through a link", "ln -s {OUTSIDE} way; echo x > way && echo PWNED; ln -s {DATA} folder; echo x > folder/token && echo PWNED"),
    ("a hard link out", "ln /etc/passwd hard && echo PWNED; ln /usr/bin/env hard && echo PWNED; touch mine; ln mine /usr/mine && echo PWNED"),
    ("a file with the rights of its owner", "cp /usr/bin/env mine; chmod u+s mine && echo PWNED; chmod g+s mine && echo PWNED; chmod 4755 mine && echo PWNED; setcap cap_sys_admin+ep mine && echo PWNED"),
    ("another owner", "touch owned; chown 12345 owned && echo PWNED"),
    ("programs with rights", "grep -q 'NoNewPrivs:.1' /proc/self/status && grep -q 'Seccomp:.2' /proc/self/status || echo PWNED; grep 'Cap[A-Z]' /proc/self/status | grep -v ':.0000000000000000$' && echo PWNED; su nobody -s /bin/true </dev/null && echo PWNED"),
    ("mounts", "mount -t tmpfs none /tmp && echo PWNED; mount --bind / /tmp && echo PWNED; mount -o remount,rw / && echo PWNED; umount /proc && echo PWNED"),
    ("namespaces", "unshare -U true && echo PWNED; unshare -m true && echo PWNED; unshare -n true && echo PWNED; nsenter -t 1 -m true && echo PWNED"),
    ("another root", "mkdir -p jail; chroot jail && echo PWNED; chroot . /bin/true && echo PWNED"),
    ("signals to the node", "kill -0 {NODE} && echo PWNED; kill -9 {NODE} && echo PWNED; kill -9 1; cat /proc/1/stat | grep -q . || echo PWNED"),
    ("more of the processor", "renice -n -20 $$ && echo PWNED; chrt -f 1 true && echo PWNED"),
    ("limits", "ulimit -H -d unlimited && echo PWNED; ulimit -H -f unlimited && echo PWNED; ulimit -n 100000 && echo PWNED"),
    ("a dump of its memory", "(ulimit -c unlimited; kill -SEGV $BASHPID); ls core* && echo PWNED"),
    ("a library before all others", "echo x > evil.so; LD_PRELOAD=/workspace/evil.so /bin/true; LD_PRELOAD=/workspace/evil.so cat {DATA}/token && echo PWNED"),
    ("a terminal", "ls /dev/ptmx /dev/pts /dev/tty && echo PWNED; (exec 3</dev/tty) && echo PWNED"),
    ("the clock and the name of the machine", "date -s 2000-01-01 && echo PWNED; hostname x && echo PWNED"),
    ("the kernel's ring", "dmesg && echo PWNED"),
];

/// In Python, for what no shell can do.
#[rustfmt::skip]
const CALLS: &[(&str, &str)] = &[
    ("families of sockets", "for family in (2, 10, 16, 17, 29, 31, 38, 40, 44):\n  for kind in (1, 2, 3):\n    tried(socket.socket, family, kind)\n  tried(socket.socketpair, family)"),
    ("a packet over UDP", "def send():\n  s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('127.0.0.1', {UDP}))\ntried(send)"),
    ("an abstract socket outside", "def reach():\n  s = socket.socket(socket.AF_UNIX); s.connect('\\0{ABSTRACT}')\ntried(reach)"),
    ("a socket with a path outside", "def reach():\n  s = socket.socket(socket.AF_UNIX); s.connect('{SOCKET}')\ntried(reach)"),
    ("another root", "os.makedirs('jail', exist_ok=True)\ntried(os.chroot, 'jail')\ntried(os.chroot, '.')"),
    ("typing into a terminal", "tried(fcntl.ioctl, 1, 0x5412, b'x')\ntried(fcntl.ioctl, 1, 0x541c, b'x')\nif libc.ioctl(1, ctypes.c_ulong(0x5412), b'x') != -1 or ctypes.get_errno() != errno.EPERM: pwned('TIOCSTI')"),
    ("the memory of the first process", "tried(open, '/proc/1/mem', 'rb')\ntried(open, '/proc/1/mem', 'r+b')\ntried(os.readlink, '/proc/1/fd/0')\ntried(os.readlink, '/proc/1/exe')"),
    ("its own memory, by its file", "tried(open, '/proc/self/mem', 'r+b')"),
    ("every descriptor", "for fd in os.listdir('/proc/self/fd'):\n  if int(fd) > 3: pwned(os.readlink('/proc/self/fd/' + fd))\nif os.readlink('/proc/self/fd/0') != '/dev/null': pwned('stdin')"),
    ("an argument that is huge", "tried(os.execv, '/bin/true', ['x' * 4000000])"),
    ("more of the processor", "tried(os.setpriority, 0, 0, -20)\ntried(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))"),
];

/// System calls by number: what each is refused with.
#[cfg(target_arch = "x86_64")]
const NUMBERS: &str = r"
refused = dict(ptrace=101, process_vm_readv=310, process_vm_writev=311, kcmp=312, pidfd_getfd=438, perf_event_open=298, unshare=272,
  setns=308, mount=165, umount2=166, pivot_root=155, chroot=161, move_mount=429, open_tree=428, fsopen=430, mount_setattr=442,
  open_by_handle_at=304, fanotify_init=300, bpf=321, userfaultfd=323, io_uring_setup=425, kexec_load=246, init_module=175, finit_module=313,
  delete_module=176, reboot=169, swapon=167, acct=163, keyctl=250, add_key=248, request_key=249, settimeofday=164, clock_settime=227,
  sethostname=170, iopl=172, ioperm=173, move_pages=279, memfd_create=319, shmget=29, quotactl=179, syslog=103)
for name, number in refused.items():
  for extra in (0, 0x40000000):
    if sys(number | extra, 0, 0, 0, 0, 0) not in (-errno.EPERM, -errno.ENOSYS): pwned((name, extra))
  if sys(number, 0, 0, 0, 0, 0) != -errno.EPERM: pwned(name)
for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
  if sys(56, flag | 17, 0, 0, 0, 0) != -errno.EPERM: pwned(('clone', hex(flag)))
if sys(435, 0, 0) != -errno.ENOSYS: pwned('clone3')
if sys(135, 0x0040000) != -errno.EPERM: pwned('personality')
if sys(452, -100, b'x', 0o4755, 0) != -errno.EPERM: pwned('fchmodat2')
";

#[tokio::test]
async fn no_command_gets_out_looks_out_or_harms() {
    let world = World::new().await;
    let outside = world.dir.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    let tcp = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let name = format!("sortie-test-{}", std::process::id());
    let by_name = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let by_path = UnixListener::bind(world.dir.path().join("socket")).unwrap();
    for socket in [&by_name, &by_path] {
        socket.set_nonblocking(true).unwrap();
    }
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    let names = [
        ("DATA", world.data().display().to_string()),
        ("OUTSIDE", outside.display().to_string()),
        ("NODE", std::process::id().to_string()),
        ("TCP", tcp.local_addr().unwrap().port().to_string()),
        ("UDP", udp.local_addr().unwrap().port().to_string()),
        ("ABSTRACT", name),
        ("SOCKET", world.dir.path().join("socket").display().to_string()),
    ];
    let mut wrong = Vec::new();
    for (name, command) in SHELL {
        wrong.extend(attempt(&world, name, &names, &format!("{command}\necho TRIED")).await);
    }
    #[cfg(target_arch = "x86_64")]
    let calls = CALLS.iter().chain(&[("system calls by number", NUMBERS)]);
    #[cfg(not(target_arch = "x86_64"))]
    let calls = CALLS.iter();
    for (name, program) in calls {
        let command = format!(
            "cat > program.py <<'PROGRAM'\n{PYTHON}\n{program}\nPROGRAM\n/usr/bin/python3 program.py 2>&1 && echo TRIED"
        );
        wrong.extend(attempt(&world, name, &names, &command).await);
    }
    assert!(
        wrong.is_empty(),
        "{} rows did more than nothing, or were not tried to their end:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // And from outside.
    for file in ["token", "journal.redb", "workspaces/other/secret.txt", "artifacts/report"] {
        assert_eq!(fs::read_to_string(world.data().join(file)).unwrap(), TOKEN, "{file}");
    }
    assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
    assert_eq!(fs::read_dir(world.data().join("workspaces/other")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(world.dir.path()).unwrap().count(), 3, "data, outside and the socket");
    assert!(
        tcp.accept().is_err()
            && udp.recv(&mut [0; 8]).is_err()
            && by_name.accept().is_err()
            && by_path.accept().is_err()
    );
    let owner = fs::metadata(world.mine()).unwrap().uid();
    for entry in fs::read_dir(world.mine()).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        assert_eq!(metadata.uid(), owner, "{entry:?}");
        assert!(metadata.is_symlink() || metadata.permissions().mode() & 0o6000 == 0, "{entry:?}");
        assert!(metadata.is_file() || metadata.is_dir() || metadata.is_symlink(), "{entry:?}");
    }
    assert_eq!(world.run("env | grep LD_").await.stdout, "", "the next command knows nothing of this one's library");
}

#[tokio::test]
async fn a_command_that_kills_all_that_it_sees_kills_only_itself() {
    let world = World::new().await;
    let ran = world.run("sleep 1000 & kill -9 -1; echo still here").await;
    assert!(ran.code == 0 || ran.code == 137, "{ran:?}");
    assert_eq!(world.run("echo well").await.stdout, "well\n");
}
