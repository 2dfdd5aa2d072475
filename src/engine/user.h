/* SPDX-License-Identifier: MIT */
/* user.h - the helper goes along when the program gives up its user for good. A system call changes the user
 * of one thread, and libc does it for the threads that it knows: the helper alone would keep the rights, and
 * the recording, opened again after a fork by a helper that has the new user, would be out of reach. */
#ifndef PLAIT_USER_H
#define PLAIT_USER_H

#include "../record/writer.h"

/* Helper: takes over the user, group and groups of the main thread where they differ; the recording's file
 * goes to the new user first. Changes back and forth (the saved user is another one) are not followed. */
void user_follow(struct writer *writer);

#endif
