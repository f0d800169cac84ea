/* Walking frame pointers by hand: see crash_frames.h. Called by the handler in crash.c. */
#include "loop/crash_frames.h"

#include <elf.h>
#include <link.h>
#include <ucontext.h>

enum { MODULES_MAX = 64, BUILD_ID_MAX = 32, SCAN_WORDS = 2048 };

static struct module modules[MODULES_MAX];
static size_t module_count;
static char build_id_text[2 * BUILD_ID_MAX + 1];

/* The stack of a task is poisoned in places for a sanitizer, but it may be read. */
__attribute__((no_sanitize("address", "thread"))) static uintptr_t word_at(uintptr_t address)
{
    return *(volatile const uintptr_t *)address; /* NOLINT: an address is all there is */
}

/* ---- what is loaded -------------------------------------------------------------------------------------
 */

static size_t round_up(size_t n)
{
    return (n + 3) & ~(size_t)3;
}

static void build_id_take(const uint8_t *id, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < MIN(n, (size_t)BUILD_ID_MAX); i++) {
        build_id_text[2 * i] = digits[id[i] >> 4];
        build_id_text[2 * i + 1] = digits[id[i] & 15];
    }
}

static void notes_read(const uint8_t *p, size_t n)
{
    ElfW(Nhdr) note;
    while (n >= sizeof note) {
        memcpy(&note, p, sizeof note);
        size_t name = round_up(note.n_namesz), size = sizeof note + name + round_up(note.n_descsz);
        if (size > n)
            return;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(p + sizeof note, "GNU", 4) == 0)
            build_id_take(p + sizeof note + name, note.n_descsz);
        p += size;
        n -= size;
    }
}

static void module_name(struct module *m, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = *path ? slash ? slash + 1 : path : "hestia";
    size_t n = MIN(strlen(name), sizeof m->name - 1);
    memcpy(m->name, name, n);
}

/* The first module is the program itself, without a name. */
static int module_add(struct dl_phdr_info *info, size_t size, void *first)
{
    if (module_count == MODULES_MAX)
        return 1;
    struct module *m = &modules[module_count];
    m->base = info->dlpi_addr;
    m->low = UINTPTR_MAX;
    m->high = 0;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_NOTE && module_count == 0)
            notes_read((const uint8_t *)at, part->p_memsz);
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
            continue;
        m->low = MIN(m->low, at);
        m->high = MAX(m->high, at + part->p_memsz);
    }
    module_name(m, info->dlpi_name);
    module_count++;
    return 0;
}

void modules_find(void)
{
    module_count = 0;
    dl_iterate_phdr(module_add, NULL);
}

const struct module *module_at(uintptr_t address)
{
    for (size_t i = 0; i < module_count; i++)
        if (address >= modules[i].low && address < modules[i].high)
            return &modules[i];
    return NULL;
}

const char *build_id(void)
{
    return build_id_text;
}

/* ---- the walk -------------------------------------------------------------------------------------------
 */

struct position position_of(const void *context)
{
    const ucontext_t *u = context;
#if defined(__x86_64__)
    const greg_t *r = u->uc_mcontext.gregs;
    return (struct position){(uintptr_t)r[REG_RIP], (uintptr_t)r[REG_RSP], (uintptr_t)r[REG_RBP]};
#elif defined(__aarch64__)
    const mcontext_t *m = &u->uc_mcontext;
    return (struct position){m->pc, m->sp, m->regs[29]};
#else
    return (struct position){0};
#endif
}

/* The program's own code, which keeps frame pointers; libraries may not. */
static bool is_ours(uintptr_t address)
{
    return module_count && address >= modules[0].low && address < modules[0].high;
}

static bool is_on_stack(const struct stack_bounds *stack, uintptr_t address)
{
    return address >= stack->low && address + 2 * sizeof(uintptr_t) <= stack->high &&
           address % sizeof(uintptr_t) == 0;
}

/* A pair {the caller's frame, address to return to}. */
static bool is_frame(const struct stack_bounds *stack, uintptr_t frame)
{
    return is_on_stack(stack, frame) && module_at(word_at(frame + sizeof(uintptr_t)));
}

/* A library may use the frame pointer for something else. The first frame of ours above it, and the address
   in ours that it returns to, which lies below that frame. */
static uintptr_t frame_search(const struct stack_bounds *stack, uintptr_t from, uintptr_t *call)
{
    *call = 0;
    for (size_t i = 0; i < SCAN_WORDS && is_on_stack(stack, from); i++, from += sizeof(uintptr_t)) {
        uintptr_t word = word_at(from), next = word_at(from + sizeof(uintptr_t));
        if (is_ours(word) && !*call)
            *call = word;
        else if (word > from && is_on_stack(stack, word) && is_ours(next))
            return from;
    }
    return 0;
}

size_t frames_walk(struct position at, const struct stack_bounds *stack, uintptr_t *frames, size_t max)
{
    size_t count = 0;
    uintptr_t frame = at.frame, call = 0;
    uintptr_t top = MAX(at.stack, stack->low) & ~(uintptr_t)(sizeof(uintptr_t) - 1);
    frames[count++] = at.code;
    if (!is_ours(at.code) || !is_frame(stack, frame)) {
        frame = frame_search(stack, top, &call);
        if (call)
            frames[count++] = call - 1;
    } else if (is_on_stack(stack, top) && top < frame && is_ours(word_at(top))) {
        frames[count++] = word_at(top) - 1; /* a function without a frame of its own: who called it */
    }
    while (count < max && frame && is_frame(stack, frame)) {
        uintptr_t caller = word_at(frame);
        frames[count++] = word_at(frame + sizeof(uintptr_t)) - 1; /* the call, not what comes after it */
        if (caller <= frame)
            break; /* stacks grow down: the caller's frame lies above, else it is the last */
        frame = caller;
    }
    return count;
}
