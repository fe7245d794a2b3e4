//! The fixed filter of system calls.
//!
//! It refuses what the engines' default profile refuses: calls that reach the machine rather than the container, some only while
//! the capability that they need anyway is missing. What is newer than this list answers `ENOSYS`, so that programs fall back.
//! 32-bit programs of x86 are filtered alike by their own numbers; those of any other architecture get `ENOSYS` for every call.

use libc::sock_filter;

use super::identity::Identity;

/// Calls that are refused unless the capability is there (empty: always).
const REFUSED: &[(&str, &[libc::c_long])] = &[
    (
        "",
        &[
            libc::SYS_add_key,
            libc::SYS_keyctl,
            libc::SYS_request_key,
            libc::SYS_move_pages,
            libc::SYS_nfsservctl,
            libc::SYS_userfaultfd,
            libc::SYS_swapon,
            libc::SYS_swapoff,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
        ],
    ),
    (
        "SYS_ADMIN",
        &[
            libc::SYS_bpf,
            libc::SYS_fanotify_init,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fsopen,
            libc::SYS_fspick,
            libc::SYS_lookup_dcookie,
            libc::SYS_mount,
            libc::SYS_mount_setattr,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_perf_event_open,
            libc::SYS_pivot_root,
            libc::SYS_quotactl,
            libc::SYS_quotactl_fd,
            libc::SYS_setdomainname,
            libc::SYS_sethostname,
            libc::SYS_setns,
            libc::SYS_umount2,
            libc::SYS_unshare,
        ],
    ),
    (
        "SYS_BOOT",
        &[
            libc::SYS_reboot,
            libc::SYS_kexec_load,
            libc::SYS_kexec_file_load,
        ],
    ),
    (
        "SYS_MODULE",
        &[
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
        ],
    ),
    ("SYS_PACCT", &[libc::SYS_acct]),
    (
        "SYS_TIME",
        &[
            libc::SYS_settimeofday,
            libc::SYS_clock_settime,
            libc::SYS_clock_adjtime,
        ],
    ),
    (
        "SYS_NICE",
        &[
            libc::SYS_mbind,
            libc::SYS_migrate_pages,
            libc::SYS_set_mempolicy,
        ],
    ),
    ("SYSLOG", &[libc::SYS_syslog]),
    ("SYS_TTY_CONFIG", &[libc::SYS_vhangup]),
    ("DAC_READ_SEARCH", &[libc::SYS_open_by_handle_at]),
    #[cfg(target_arch = "x86_64")]
    ("SYS_RAWIO", &[libc::SYS_iopl, libc::SYS_ioperm]),
    #[cfg(target_arch = "x86_64")]
    (
        "",
        &[
            libc::SYS__sysctl,
            libc::SYS_sysfs,
            libc::SYS_uselib,
            libc::SYS_ustat,
        ],
    ),
];

/// Changes of owner: ignored where the pod has one user only.
const CHOWN: &[libc::c_long] = &[
    libc::SYS_fchown,
    libc::SYS_fchownat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
];

/// The same calls and changes of owner by the numbers of 32-bit x86 (`asm/unistd_32.h`), which a 64-bit machine runs too.
#[cfg(target_arch = "x86_64")]
mod x86 {
    pub(super) const ARCH: u32 = 0x4000_0003;
    pub(super) const CLONE: libc::c_long = 120;
    pub(super) const CLONE3: libc::c_long = 435;
    /// `chown`, `lchown`, `fchown`, their forms with 32-bit ids, and `fchownat`.
    pub(super) const CHOWN: &[libc::c_long] = &[182, 16, 95, 212, 198, 207, 298];
    pub(super) const REFUSED: &[(&str, &[libc::c_long])] = &[
        (
            "",
            // Keys, `move_pages`, `nfsservctl`, `userfaultfd`, swap, `io_uring`, `_sysctl`, `sysfs`, `uselib`, `ustat`, and what
            // only 32-bit machines had: `vm86old`, `vm86`, `create_module`, `get_kernel_syms`, `query_module`.
            &[
                286, 288, 287, 317, 169, 374, 87, 115, 425, 426, 427, 149, 135, 86, 62, 113, 166,
                127, 130, 167,
            ],
        ),
        (
            "SYS_ADMIN",
            // In the order of the list above; `umount` and `umount2`.
            &[
                357, 338, 431, 432, 430, 433, 253, 21, 442, 429, 428, 336, 217, 131, 443, 121, 74,
                346, 22, 52, 310,
            ],
        ),
        ("SYS_BOOT", &[88, 283]),
        ("SYS_MODULE", &[128, 350, 129]),
        ("SYS_PACCT", &[51]),
        // `settimeofday`, `stime`, `clock_settime`, `clock_adjtime`, and the last two with 64-bit times.
        ("SYS_TIME", &[79, 25, 264, 343, 404, 405]),
        ("SYS_NICE", &[274, 294, 276]),
        ("SYSLOG", &[103]),
        ("SYS_TTY_CONFIG", &[111]),
        ("DAC_READ_SEARCH", &[342]),
        ("SYS_RAWIO", &[110, 101]),
    ];
}

/// The newest call that the list knows (`open_tree_attr`, Linux 6.15).
const NEWEST: u32 = 467;
/// `clone` may make none of these without CAP_SYS_ADMIN.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// Offsets in `struct seccomp_data`, for a little-endian machine.
const NR: u32 = 0;
const ARCH_AT: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

const fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

const fn jump(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: (libc::BPF_JMP | code | libc::BPF_K) as u16,
        jt,
        jf,
        k,
    }
}

const fn load(at: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at)
}

const fn give(what: u32) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, what)
}

/// The calls of one architecture.
struct Calls {
    refused: &'static [(&'static str, &'static [libc::c_long])],
    chown: &'static [libc::c_long],
    clone: libc::c_long,
    clone3: libc::c_long,
}

/// The machine's own.
const OWN: Calls = Calls {
    refused: REFUSED,
    chown: CHOWN,
    clone: libc::SYS_clone,
    clone3: libc::SYS_clone3,
};

#[cfg(target_arch = "x86_64")]
const OTHERS: &[(u32, Calls)] = &[(
    x86::ARCH,
    Calls {
        refused: x86::REFUSED,
        chown: x86::CHOWN,
        clone: x86::CLONE,
        clone3: x86::CLONE3,
    },
)];
#[cfg(not(target_arch = "x86_64"))]
const OTHERS: &[(u32, Calls)] = &[];

/// The filter for a container; empty where nothing is to be filtered.
pub(super) fn program(who: &Identity, privileged: bool, one_id: bool) -> Vec<sock_filter> {
    if privileged && !one_id {
        return Vec::new();
    }
    let mut program = vec![load(ARCH_AT)];
    let own = (ARCH, OWN);
    for (arch, calls) in std::iter::once(&own).chain(OTHERS) {
        let rules = rules(calls, who, privileged, one_id);
        // Over the rules of another architecture: they are too many for the offset of a conditional jump.
        program.push(jump(libc::BPF_JEQ, *arch, 1, 0));
        program.push(statement(libc::BPF_JMP | libc::BPF_JA, rules.len() as u32));
        program.extend(rules);
    }
    program.push(give(errno(libc::ENOSYS)));
    program
}

/// What becomes of each call; every way through ends here.
fn rules(calls: &Calls, who: &Identity, privileged: bool, one_id: bool) -> Vec<sock_filter> {
    let mut rules = vec![load(NR)];
    let mut on = |number: libc::c_long, what: u32| {
        rules.push(jump(libc::BPF_JEQ, number as u32, 0, 1));
        rules.push(give(what));
    };
    if one_id {
        for number in calls.chown {
            on(*number, errno(0));
        }
    }
    if !privileged {
        for (capability, numbers) in calls.refused {
            if capability.is_empty() || !who.can(capability) {
                for number in *numbers {
                    on(*number, errno(libc::EPERM));
                }
            }
        }
        if !who.can("SYS_ADMIN") {
            // Its flags are in memory, where a filter cannot see them: programs fall back to clone.
            on(calls.clone3, errno(libc::ENOSYS));
            rules.extend([
                jump(libc::BPF_JEQ, calls.clone as u32, 0, 4),
                load(FIRST_ARGUMENT),
                jump(libc::BPF_JSET, NAMESPACES, 0, 1),
                give(errno(libc::EPERM)),
                give(ALLOW),
            ]);
        }
        // Also the x32 calls, whose numbers have bit 30 set.
        rules.push(jump(libc::BPF_JGT, NEWEST, 0, 1));
        rules.push(give(errno(libc::ENOSYS)));
    }
    rules.push(give(ALLOW));
    rules
}
