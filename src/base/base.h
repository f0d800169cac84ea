/*
 * What every file may assume: fixed-width integers, result checking, and a few macros.
 * Included by everything; holds no code that could fail.
 */
#ifndef HESTIA_BASE_BASE_H
#define HESTIA_BASE_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Which sanitizer watches this build: gcc and clang say it in different ways. */
#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define HAVE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAVE_TSAN 1
#endif
#endif

/* A caller must look at what the function returns: an error is never dropped by accident. */
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first_arg) __attribute__((format(printf, format_index, first_arg)))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Runs `function(&variable)` when the variable leaves its scope, so that a cancelled task cleans up by
   returning early. */
#define CLEANUP(function) __attribute__((cleanup(function)))

/* Invariants stay on in release builds: a broken one must stop the process, not corrupt an account. */
#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (UNLIKELY(!(condition)))                                                                          \
            require_failed(#condition, __FILE__, __LINE__);                                                  \
    } while (0)
_Noreturn void require_failed(const char *condition, const char *file, int line);

#endif
