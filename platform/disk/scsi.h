// SPDX-License-Identifier: BSD-2-Clause
// scsi.h: disks that take SCSI commands (SPC-4, SBC-3), whatever brings the commands to them: virtio_scsi.c, pvscsi.c.
//
// An adapter's driver fills a struct scsi_adapter and asks for its disks; requests come back to it as commands by
// scsi_command, and what the disk answers is turned into an errno by scsi_result.
#pragma once

#include "block/block.h"

#define SCSI_CDB_BYTES 16
#define SCSI_SENSE_BYTES 96
#define SCSI_DATA_BYTES 512  // of a command that scsi_find_disks executes
#define SCSI_RANGE_BYTES 24
enum { SCSI_GOOD = 0, SCSI_CHECK_CONDITION = 2 };

struct scsi_command {
    u8 cdb[SCSI_CDB_BYTES];
    // Data of the command in place of the request's segments: a range, or a block of zeros.
    u8 range[SCSI_RANGE_BYTES];
    phys_t zeros;    // 0: the range
    u32 data_bytes;  // 0: the segments
};

struct scsi_adapter {
    // Executes a command while nothing else is under way, without interrupts; what it reads goes to data. => the disk's status, sense filled
    // in with a CHECK CONDITION; -EIO no answer; -ENODEV: there is no such target
    int (*execute)(struct scsi_adapter *a, u32 target, u32 lun, const u8 *cdb, u8 *data, u32 bytes,
                   u8 *sense);
    const struct block_disk_ops *disk_ops;
    u32 max_target, max_lun;
    u32 max_segments, max_segment_bytes;
};

struct scsi_disk {
    struct block_disk disk;
    struct scsi_adapter *adapter;
    u32 target, lun;
    u32 shift;  // sectors of a block, as a power of two
};

static inline struct scsi_disk *scsi_disk_of(const struct block_request *r)
{
    return container_of(r->disk, struct scsi_disk, disk);
}

// Looks for disks behind the adapter and adds them. => 0, -ENOMEM, -ENOSPC, -EIO: the adapter does not answer
int scsi_find_disks(struct scsi_adapter *a);
void scsi_command(const struct block_request *r, struct scsi_command *c);
int scsi_result(u32 status, const u8 *sense);  // => 0, -EOPNOTSUPP, -EIO
