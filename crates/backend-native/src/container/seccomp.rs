//! The fixed filter of system calls.
//!
//! It refuses what the engines' default profile refuses: calls that reach the machine rather than the container, some only while
//! the capability that they need anyway is missing. What is newer than this list answers `ENOSYS`, so that programs fall back.
//! Programs for another architecture than the machine's own (32-bit ones on a 64-bit machine) get `ENOSYS` for every call.

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

/// The filter for a container; empty where nothing is to be filtered.
pub(super) fn program(who: &Identity, privileged: bool, one_id: bool) -> Vec<sock_filter> {
    let mut program = vec![
        load(ARCH_AT),
        jump(libc::BPF_JEQ, ARCH, 1, 0),
        give(errno(libc::ENOSYS)),
        load(NR),
    ];
    let head = program.len();
    let mut on = |number: libc::c_long, what: u32| {
        program.push(jump(libc::BPF_JEQ, number as u32, 0, 1));
        program.push(give(what));
    };
    if one_id {
        for number in CHOWN {
            on(*number, errno(0));
        }
    }
    if !privileged {
        for (capability, numbers) in REFUSED {
            if capability.is_empty() || !who.can(capability) {
                for number in *numbers {
                    on(*number, errno(libc::EPERM));
                }
            }
        }
        if !who.can("SYS_ADMIN") {
            // Its flags are in memory, where a filter cannot see them: programs fall back to clone.
            on(libc::SYS_clone3, errno(libc::ENOSYS));
            program.extend([
                jump(libc::BPF_JEQ, libc::SYS_clone as u32, 0, 4),
                load(FIRST_ARGUMENT),
                jump(libc::BPF_JSET, NAMESPACES, 0, 1),
                give(errno(libc::EPERM)),
                give(ALLOW),
            ]);
        }
        // Also the x32 calls, whose numbers have bit 30 set.
        program.push(jump(libc::BPF_JGT, NEWEST, 0, 1));
        program.push(give(errno(libc::ENOSYS)));
    }
    if program.len() == head {
        return Vec::new();
    }
    program.push(give(ALLOW));
    program
}
