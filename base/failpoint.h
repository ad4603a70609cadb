/* failpoint: in test builds (-DPANGEA_FAILPOINTS) a named step at which a test kills or halts the process; nothing otherwise.
 * PANGEA_FAILPOINT="name=exit" or "name=exit@3" (the third time the step is passed) or "name=pause@2:/path/file" (creates the file,
 * then stops itself with SIGSTOP until somebody sends SIGCONT); several separated by commas.  Thread: any. */
#ifndef PANGEA_BASE_FAILPOINT_H
#define PANGEA_BASE_FAILPOINT_H

#ifdef PANGEA_FAILPOINTS
void failpoint_hit(const char *name);
#define FAILPOINT(name) failpoint_hit(name)
#else
#define FAILPOINT(name) ((void)0)
#endif

#endif
