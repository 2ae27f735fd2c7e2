/* What a job may try, for the tests of what workers are kept from: each line is a try and what came
 * of it. It runs in a worker, without any library: cc -static. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(const char *what, long result) {
    printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "done");
}

#ifdef __x86_64__
/* A system call as a program of 32 bits makes it: socketcall's arguments are in memory. */
static long call32(long number, long first, long second, long third) {
    __asm__ volatile("int $0x80" : "+a"(number) : "b"(first), "c"(second), "d"(third) : "memory");
    errno = number < 0 ? (int)-number : 0;
    return number;
}
#endif

/* A socket of each family, and some whose protocol makes a kernel load a module. */
static void sockets(void) {
    char what[64];
    for (int family = 0; family <= 45; family++) {
        for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
            int made = socket(family, type, 0);
            snprintf(what, sizeof what, "family:%d type:%d", family, type);
            tell(what, made);
            if (made >= 0) close(made);
        }
    }
    static const int odd[][3] = {
        {AF_INET, SOCK_SEQPACKET, 132}, {AF_INET, SOCK_STREAM, 132}, {AF_INET, 6, 33},
        {AF_INET6, SOCK_SEQPACKET, 132}, {AF_INET, SOCK_RAW, 255}, {AF_NETLINK, SOCK_RAW, 4},
        {AF_NETLINK, SOCK_RAW, 16}, {AF_NETLINK, SOCK_RAW, 21},
        {AF_INET, SOCK_DGRAM, 1}, {AF_INET6, SOCK_DGRAM, 58}, /* ping */
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        snprintf(what, sizeof what, "socket:%d,%d,%d", odd[i][0], odd[i][1], odd[i][2]);
        tell(what, socket(odd[i][0], odd[i][1], odd[i][2]));
    }
#ifdef __x86_64__
    static unsigned int alg[] = {AF_ALG, SOCK_SEQPACKET, 0};
    tell("socketcall32:38", call32(102, 1, (long)alg, 0));
    tell("socket32:38", call32(359, AF_ALG, SOCK_SEQPACKET, 0));
    tell("usual:32", call32(359, AF_INET, SOCK_STREAM, 0));
#endif
    static const int usual[][3] = {
        {AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 6}, {AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 17},
        {AF_INET6, SOCK_STREAM, 6}, {AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0}, {AF_UNIX, SOCK_SEQPACKET, 0},
    };
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        snprintf(what, sizeof what, "usual:%d,%d", usual[i][0], usual[i][2]);
        tell(what, socket(usual[i][0], usual[i][1], usual[i][2]));
    }
}

/* Calls whose objects the host counts for all containers together, or that make root act for us. */
static void calls(void) {
    unsigned long context = 0;
    char parameters[256] = {0};
    tell("io_setup", syscall(SYS_io_setup, 1, &context));
    tell("io_uring_setup", syscall(SYS_io_uring_setup, 1, parameters));
    tell("userfaultfd", syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */));
    tell("add_key", syscall(SYS_add_key, "user", "plancton", "x", 1L, -3 /* this session's keyring */));
    tell("request_key", syscall(SYS_request_key, "user", "plancton", "x", -3));
    tell("keyctl", syscall(SYS_keyctl, 0, -3, 1));
    tell("sync", syscall(SYS_sync));
    tell("syncfs", syscall(SYS_syncfs, 0));
}

/* A core dump: what its limit is, whether that can be raised, and whether there was one. */
static void core(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_CORE, &limit);
    printf("core %lu:%lu\n", (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
    limit.rlim_cur = limit.rlim_max = RLIM_INFINITY;
    tell("raise", setrlimit(RLIMIT_CORE, &limit));
    int status = 0;
    pid_t child = fork();
    if (child == 0) abort();
    waitpid(child, &status, 0);
    printf("abort %s\n", WCOREDUMP(status) ? "dumped" : "nothing");
}

static void identity(void) {
    gid_t groups[64];
    int count = getgroups(64, groups);
    printf("ids %d:%d\n", (int)getuid(), (int)getgid());
    for (int i = 0; i < count; i++) printf("group %d\n", (int)groups[i]);
}

/* What the kernel counts per user, as far as it goes: inotify instances, pipes of the usual size,
 * pending signals. Root is nobody here. */
static void per_user(int watches, int most) {
    if (getuid() == 0 && (setgroups(0, NULL) || setgid(65534) || setuid(65534))) exit(1);
    int watching = 0, pipes = 0, pending = 0, ends[2];
    while (watching < watches && inotify_init1(0) >= 0) watching++;
    while (pipes < watches && pipe(ends) == 0 && fcntl(ends[0], F_GETPIPE_SZ) >= 65536) pipes++;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    while (pending < most && sigqueue(getpid(), SIGRTMIN, (union sigval){0}) == 0) pending++;
    printf("inotify %d\npipes %d\nsignals %d\n", watching, pipes, pending);
}

/* Sockets whose content counts as nobody's memory: more than any job needs. */
static void hoard(void) {
    int made = 0;
    while (made < 3000 && socket(AF_NETLINK, SOCK_RAW, 0) >= 0) made++;
    printf("sockets %d\n", made);
}

/* Packets to 5,000 ports of the default gateway, which is the host: each is a connection to the kernel. */
static void connections(void) {
    unsigned gateway = 0;
    FILE *routes = fopen("/proc/net/route", "r");
    if (!routes || fscanf(routes, "%*[^\n] %*s 00000000 %x", &gateway) != 1) return;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = gateway};
    int made = 0, fd = socket(AF_INET, SOCK_DGRAM, 0);
    for (int port = 20000; port < 25000; port++) {
        to.sin_port = htons((unsigned short)port);
        made += sendto(fd, "", 1, 0, (struct sockaddr *)&to, sizeof to) == 1;
    }
    printf("connections %d\n", made);
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    if (strcmp(what, "sockets") == 0) sockets();
    if (strcmp(what, "calls") == 0) calls();
    if (strcmp(what, "core") == 0) core();
    if (strcmp(what, "write") == 0) tell("write", open("/data/inner/file", O_WRONLY | O_CREAT, 0644));
    if (strcmp(what, "identity") == 0) identity();
    if (strcmp(what, "per-user") == 0) per_user(1 << 20, 1 << 20);
    if (strcmp(what, "signals") == 0) per_user(0, 1 << 20);
    if (strcmp(what, "hoard") == 0) hoard();
    if (strcmp(what, "connect") == 0) connections();
    if (strcmp(what, "one") == 0) per_user(1, 1);
    puts("end");
    fflush(stdout);
    pause();
}
