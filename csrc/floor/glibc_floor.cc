// Lets a library that was linked against a new glibc run on glibc 2.28 (RHEL 8, Debian 10, Ubuntu 20.04, Amazon Linux 2023).
//
// The linker binds every function to its newest version, and some got a new version without a change that matters here: glibc
// 2.34 merged libpthread and libdl, 2.33 made stat a function, 2.29 freed pow of its error handling. A hidden definition of each
// in the library itself catches the calls of all its objects, libstdc++.a and libcudart_static.a included, and passes them on
// to the version that is old enough. Only shared libraries get this file (CMakeLists.txt, glibc_floor); the test of the floor
// (test/integration/package.test.ts) says which symbol is missing here.
#include <errno.h>
#include <stddef.h>
#include <sys/random.h>
#include <sys/stat.h>
#if defined(__GLIBC__) && defined(__x86_64__)

/// Defines `name` as a jump to its `version`, whatever its arguments are.
#define CONES_FORWARD(name, version)                                      \
  asm(".pushsection .text.floor." name ",\"ax\",@progbits\n"              \
      ".globl " name "\n.hidden " name "\n.type " name ", @function\n"    \
      ".symver floor_" name ", " name "@" version "\n" name ":\n"         \
      "  endbr64\n  jmp *floor_" name "@GOTPCREL(%rip)\n"                 \
      ".size " name ", .-" name "\n.popsection");

CONES_FORWARD("exp", "GLIBC_2.2.5")
CONES_FORWARD("pow", "GLIBC_2.2.5")
CONES_FORWARD("dladdr", "GLIBC_2.2.5")
CONES_FORWARD("dlerror", "GLIBC_2.2.5")
CONES_FORWARD("dlopen", "GLIBC_2.2.5")
CONES_FORWARD("dlsym", "GLIBC_2.2.5")
CONES_FORWARD("pthread_create", "GLIBC_2.2.5")
CONES_FORWARD("pthread_detach", "GLIBC_2.2.5")
CONES_FORWARD("pthread_getspecific", "GLIBC_2.2.5")
CONES_FORWARD("pthread_join", "GLIBC_2.2.5")
CONES_FORWARD("pthread_key_create", "GLIBC_2.2.5")
CONES_FORWARD("pthread_key_delete", "GLIBC_2.2.5")
CONES_FORWARD("pthread_once", "GLIBC_2.2.5")
CONES_FORWARD("pthread_setspecific", "GLIBC_2.2.5")

#ifdef CONES_FLOOR_CUDA  // what CUDA's static runtime calls besides
CONES_FORWARD("dlclose", "GLIBC_2.2.5")
CONES_FORWARD("dlmopen", "GLIBC_2.3.4")
CONES_FORWARD("dlvsym", "GLIBC_2.2.5")
CONES_FORWARD("pthread_condattr_setpshared", "GLIBC_2.2.5")
CONES_FORWARD("pthread_kill", "GLIBC_2.2.5")
CONES_FORWARD("pthread_mutex_trylock", "GLIBC_2.2.5")
CONES_FORWARD("pthread_mutexattr_destroy", "GLIBC_2.2.5")
CONES_FORWARD("pthread_mutexattr_init", "GLIBC_2.2.5")
CONES_FORWARD("pthread_mutexattr_setpshared", "GLIBC_2.2.5")
CONES_FORWARD("pthread_mutexattr_settype", "GLIBC_2.2.5")
CONES_FORWARD("pthread_rwlock_destroy", "GLIBC_2.2.5")
CONES_FORWARD("pthread_rwlock_init", "GLIBC_2.2.5")
CONES_FORWARD("pthread_rwlock_rdlock", "GLIBC_2.2.5")
CONES_FORWARD("pthread_rwlock_timedrdlock", "GLIBC_2.2.5")
CONES_FORWARD("pthread_rwlock_timedwrlock", "GLIBC_2.2.5")
CONES_FORWARD("pthread_rwlock_tryrdlock", "GLIBC_2.2.5")
CONES_FORWARD("pthread_rwlock_trywrlock", "GLIBC_2.2.5")
CONES_FORWARD("pthread_rwlock_unlock", "GLIBC_2.2.5")
CONES_FORWARD("pthread_rwlock_wrlock", "GLIBC_2.2.5")
CONES_FORWARD("pthread_rwlockattr_destroy", "GLIBC_2.2.5")
CONES_FORWARD("pthread_rwlockattr_init", "GLIBC_2.2.5")
CONES_FORWARD("pthread_rwlockattr_setpshared", "GLIBC_2.2.5")
CONES_FORWARD("pthread_spin_destroy", "GLIBC_2.2.5")
CONES_FORWARD("pthread_spin_init", "GLIBC_2.2.5")
CONES_FORWARD("pthread_spin_lock", "GLIBC_2.2.5")
CONES_FORWARD("pthread_spin_trylock", "GLIBC_2.2.5")
CONES_FORWARD("pthread_spin_unlock", "GLIBC_2.2.5")
CONES_FORWARD("sem_destroy", "GLIBC_2.2.5")
CONES_FORWARD("sem_init", "GLIBC_2.2.5")
CONES_FORWARD("sem_post", "GLIBC_2.2.5")
CONES_FORWARD("sem_timedwait", "GLIBC_2.2.5")
CONES_FORWARD("sem_trywait", "GLIBC_2.2.5")
CONES_FORWARD("sem_wait", "GLIBC_2.2.5")
CONES_FORWARD("shm_open", "GLIBC_2.2.5")
CONES_FORWARD("shm_unlink", "GLIBC_2.2.5")
#endif

#define CONES_HIDDEN extern "C" __attribute__((visibility("hidden")))

asm(".symver floor_xstat, __xstat@GLIBC_2.2.5");
asm(".symver floor_fxstat, __fxstat@GLIBC_2.2.5");
extern "C" int floor_xstat(int version, const char* path, struct stat* status);
extern "C" int floor_fxstat(int version, int file, struct stat* status);
namespace {
constexpr int kStatVersion = 1;  // _STAT_VER_LINUX of x86-64
}  // namespace
CONES_HIDDEN int stat(const char* path, struct stat* status) { return floor_xstat(kStatVersion, path, status); }
CONES_HIDDEN int fstat(int file, struct stat* status) { return floor_fxstat(kStatVersion, file, status); }

/// libstdc++ looks here whether it may leave out atomics (2.32); it may not.
CONES_HIDDEN char __libc_single_threaded;
char __libc_single_threaded = 0;

/// std::random_device's (2.36). Nothing here uses that, but libstdc++.a holds it in one object with what is used.
CONES_HIDDEN unsigned int arc4random() {
  unsigned int bits = 0;
  auto* bytes = reinterpret_cast<char*>(&bits);
  for (size_t have = 0; have < sizeof bits;) {
    const ssize_t got = getrandom(bytes + have, sizeof bits - have, 0);  // 2.25
    if (got > 0) have += static_cast<size_t>(got);
    else if (errno != EINTR) __builtin_trap();
  }
  return bits;
}
#endif
