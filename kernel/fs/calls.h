// SPDX-License-Identifier: BSD-2-Clause
// calls.h: prototypes of the system calls that the VFS core implements (errors: their manual pages).
#pragma once

#include "arch/uaccess.h"
#include "core/base.h"

struct file;

// file.c
long sys_open(uptr_t path, int flags, u32 mode);
long sys_openat(int dfd, uptr_t path, int flags, u32 mode);
long sys_openat2(int dfd, uptr_t path, uptr_t how, size_t size);
long sys_creat(uptr_t path, u32 mode);
// fdtable.c
long sys_close(int fd);
long sys_close_range(u32 first, u32 last, u32 flags);
long sys_dup(int fd);
long sys_dup2(int oldfd, int newfd);
long sys_dup3(int oldfd, int newfd, int flags);
// sysv_shm.c
long sys_shmget(s32 key, size_t size, int flags);
long sys_shmat(int id, uptr_t addr, int flags);
long sys_shmdt(uptr_t addr);
long sys_shmctl(int id, int command, uptr_t buf);
// aio.c
long sys_io_setup(u32 n_asked, uptr_t id);
long sys_io_destroy(u64 id);
long sys_io_submit(u64 id, long n, uptr_t iocbs);
long sys_io_cancel(u64 id, uptr_t iocb, uptr_t result);
long sys_io_getevents(u64 id, long min, long n, uptr_t events, uptr_t timeout);
long sys_io_pgetevents(u64 id, long min, long n, uptr_t events, uptr_t timeout, uptr_t sig);
// rw.c
long sys_read(int fd, uptr_t buf, size_t len);
long sys_write(int fd, uptr_t buf, size_t len);
long sys_pread64(int fd, uptr_t buf, size_t len, loff_t pos);
long sys_pwrite64(int fd, uptr_t buf, size_t len, loff_t pos);
long sys_readv(int fd, uptr_t iov, size_t n);
long sys_writev(int fd, uptr_t iov, size_t n);
long sys_preadv(int fd, uptr_t iov, size_t n, loff_t pos, long pos_high);
long sys_pwritev(int fd, uptr_t iov, size_t n, loff_t pos, long pos_high);
long sys_preadv2(int fd, uptr_t iov, size_t n, loff_t pos, long pos_high, u32 flags);
long sys_pwritev2(int fd, uptr_t iov, size_t n, loff_t pos, long pos_high, u32 flags);
long sys_lseek(int fd, loff_t offset, u32 whence);
long sys_sendfile(int out, int in, uptr_t offset, size_t count);
long sys_copy_file_range(int in, uptr_t in_pos, int out, uptr_t out_pos, size_t len, u32 flags);
long sys_sync(void);
long sys_syncfs(int fd);
long sys_fsync(int fd);
long sys_fdatasync(int fd);
long sys_sync_file_range(int fd, loff_t offset, loff_t len, u32 flags);
long sys_fadvise64(int fd, loff_t offset, loff_t len, int advice);
long sys_readahead(int fd, loff_t offset, size_t len);
// stat.c
long sys_stat(uptr_t path, uptr_t buf);
long sys_lstat(uptr_t path, uptr_t buf);
long sys_fstat(int fd, uptr_t buf);
long sys_newfstatat(int dfd, uptr_t path, uptr_t buf, int flags);
long sys_statx(int dfd, uptr_t path, u32 flags, u32 mask, uptr_t buf);
long sys_access(uptr_t path, u32 mode);
long sys_faccessat(int dfd, uptr_t path, u32 mode);
long sys_faccessat2(int dfd, uptr_t path, u32 mode, int flags);
long sys_statfs(uptr_t path, uptr_t buf);
long sys_fstatfs(int fd, uptr_t buf);
// dir.c
long sys_mkdir(uptr_t path, u32 mode);
long sys_mkdirat(int dfd, uptr_t path, u32 mode);
long sys_mknod(uptr_t path, u32 mode, u32 dev);
long sys_mknodat(int dfd, uptr_t path, u32 mode, u32 dev);
long sys_rmdir(uptr_t path);
long sys_unlink(uptr_t path);
long sys_unlinkat(int dfd, uptr_t path, int flags);
long sys_symlink(uptr_t target, uptr_t path);
long sys_symlinkat(uptr_t target, int dfd, uptr_t path);
long sys_link(uptr_t from, uptr_t to);
long sys_linkat(int from_dfd, uptr_t from, int to_dfd, uptr_t to, int flags);
long sys_rename(uptr_t from, uptr_t to);
long sys_renameat(int from_dfd, uptr_t from, int to_dfd, uptr_t to);
long sys_renameat2(int from_dfd, uptr_t from, int to_dfd, uptr_t to, u32 flags);
long sys_readlink(uptr_t path, uptr_t buf, int size);
long sys_readlinkat(int dfd, uptr_t path, uptr_t buf, int size);
long sys_getdents(u32 fd, uptr_t buf, u32 size);
long sys_getdents64(u32 fd, uptr_t buf, u32 size);
long sys_getcwd(uptr_t buf, size_t size);
long sys_chdir(uptr_t path);
long sys_fchdir(int fd);
long sys_chroot(uptr_t path);
long sys_umask(u32 mask);
// attr.c
long sys_chmod(uptr_t path, u32 mode);
long sys_fchmod(int fd, u32 mode);
long sys_fchmodat(int dfd, uptr_t path, u32 mode);
long sys_fchmodat2(int dfd, uptr_t path, u32 mode, u32 flags);
long sys_chown(uptr_t path, u32 uid, u32 gid);
long sys_lchown(uptr_t path, u32 uid, u32 gid);
long sys_fchown(int fd, u32 uid, u32 gid);
long sys_fchownat(int dfd, uptr_t path, u32 uid, u32 gid, int flags);
long sys_utime(uptr_t path, uptr_t times);
long sys_utimes(uptr_t path, uptr_t times);
long sys_futimesat(int dfd, uptr_t path, uptr_t times);
long sys_utimensat(int dfd, uptr_t path, uptr_t times, int flags);
long sys_truncate(uptr_t path, loff_t size);
long sys_ftruncate(int fd, loff_t size);
long sys_fallocate(int fd, int mode, loff_t offset, loff_t len);
// fcntl.c
long sys_fcntl(int fd, u32 cmd, unsigned long arg);
long sys_ioctl(int fd, u32 cmd, uptr_t arg);
// locks.c
long sys_flock(int fd, u32 operation);
long locks_fcntl(int fd, struct file *f, u32 cmd, uptr_t arg);
// memfd.c
long sys_memfd_create(uptr_t name, u32 flags);
long memfd_add_seals(struct file *f, u32 seals);
long memfd_get_seals(struct file *f);
// mount.c
long sys_mount(uptr_t source, uptr_t target, uptr_t type, unsigned long flags, uptr_t data);
long sys_umount2(uptr_t target, int flags);
long sys_pivot_root(uptr_t new_root, uptr_t put_old);
// xattr.c
long sys_setxattr(uptr_t path, uptr_t name, uptr_t value, size_t size, int flags);
long sys_lsetxattr(uptr_t path, uptr_t name, uptr_t value, size_t size, int flags);
long sys_fsetxattr(int fd, uptr_t name, uptr_t value, size_t size, int flags);
long sys_getxattr(uptr_t path, uptr_t name, uptr_t value, size_t size);
long sys_lgetxattr(uptr_t path, uptr_t name, uptr_t value, size_t size);
long sys_fgetxattr(int fd, uptr_t name, uptr_t value, size_t size);
long sys_listxattr(uptr_t path, uptr_t list, size_t size);
long sys_llistxattr(uptr_t path, uptr_t list, size_t size);
long sys_flistxattr(int fd, uptr_t list, size_t size);
long sys_removexattr(uptr_t path, uptr_t name);
long sys_lremovexattr(uptr_t path, uptr_t name);
long sys_fremovexattr(int fd, uptr_t name);
