/* SPDX-License-Identifier: MIT */
/* fuzz_elf.c - libFuzzer: any bytes as an ELF file, for the reader in the target (elf.c, from the file and
 * from memory) and for the symbol tables of reports (elfsyms.c). The first bytes of the input ask; the rest
 * is the file. What is answered must be in the file, and come from where the file says. */
#include "holds.h"
#include "native/elf.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* elfsyms.c keeps what it has read for ever; here it goes after each input. */
static void *keep(void *block);
static void forget(void *block);
#define malloc(size)         keep(malloc(size))
#define calloc(count, size)  keep(calloc(count, size))
#define realloc(block, size) keep(realloc((forget(block), (block)), size))
#define strdup(text)         keep(strdup(text))
#define free(block)          (forget(block), free(block))
#include "record/elfsyms.c"
#undef malloc
#undef calloc
#undef realloc
#undef strdup
#undef free

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KEPT = 4096, HEAD = 24 };

static void *kept[KEPT];
static unsigned kept_count;

static void *keep(void *block)
{
    HOLDS(kept_count < KEPT);
    if (block != NULL)
        kept[kept_count++] = block;
    return block;
}

static void forget(void *block)
{
    for (unsigned i = 0; block != NULL && i < kept_count; i++)
        if (kept[i] == block)
            kept[i] = kept[--kept_count];
}

static void check_symbols(const char *path, uint64_t offset)
{
    struct profiler_symbolizer *elf = profiler_symbolizer_elf();
    struct profiler_symbol symbol = {0};
    uint64_t start = 0;
    for (int i = 0; i < 16; i++, offset += (uint64_t)i * i) {
        int named = elf->resolve(elf->context, path, NULL, 0, offset, &symbol, 1);
        HOLDS(named == 0 || (named == 1 && symbol.function != NULL && strlen(symbol.function) < 1 << 20));
        HOLDS(!elfsyms_start(path, NULL, 0, offset, &start) || start <= offset);
    }
    const struct elfsyms_file *file = elfsyms_files;
    HOLDS(file != NULL && file->next == NULL);
    for (size_t i = 1; i < file->count; i++)
        HOLDS(file->symbols[i - 1].value <= file->symbols[i].value);
    for (size_t i = 1; i < file->start_count; i++)
        HOLDS(file->starts[i - 1] <= file->starts[i]);
    for (size_t i = 0; i < file->count && i < 64;
         i++) { /* each symbol covers its own start, or a better one */
        struct profiler_symbol own = {0};
        HOLDS(elf->resolve(elf->context, path, NULL, 0, file->symbols[i].value, &own, 1) == 1 ||
              file->symbols[i].size == 0);
    }
    elfsyms_files = NULL;
    while (kept_count > 0)
        free(kept[--kept_count]);
}

/* What the reader of the target says of a file, or of its image. */
static void check_image(const struct elf *elf, const uint8_t *file, size_t size)
{
    unsigned char id[ELF_BUILD_ID], *bytes;
    uint64_t address = 0, length = 0;
    uint32_t id_size = elf_build_id(elf, id);
    HOLDS(id_size <= ELF_BUILD_ID && elf->segment_count <= ELF_SEGMENTS && elf->note_count <= ELF_NOTES);
    HOLDS(id_size == 0 || memmem(file, size, id, id_size) != NULL);
    if (elf_eh_frame(elf, &address, &length) != 0 || length > 1 << 20)
        return;
    bytes = malloc(length > 0 ? length : 1);
    HOLDS(bytes != NULL);
    if (elf_read(elf, address, bytes, length) == 0 && elf->fd >= 0)
        HOLDS(length == 0 || memmem(file, size, bytes, length) != NULL);
    free(bytes);
}

static void check_reader(const char *path, const uint8_t *file, size_t size, uint64_t start, uint64_t offset)
{
    struct elf elf;
    if (elf_open(&elf, path, 0, start, offset) == 0) {
        check_image(&elf, file, size);
        elf_close(&elf);
    }
    HOLDS(elf.fd == -1);
    if (elf_open(&elf, NULL, (uint64_t)(uintptr_t)file, start, offset) == 0) {
        unsigned char id[ELF_BUILD_ID];
        uint64_t address, length;
        HOLDS(elf_build_id(&elf, id) <= ELF_BUILD_ID);
        elf_eh_frame(&elf, &address, &length);
        elf_close(&elf);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char path[64];
    uint64_t asked[3];
    if (fd < 0)
        fd = memfd_create("elf", 0);
    if (size < HEAD)
        return 0;
    memcpy(asked, data, HEAD);
    data += HEAD;
    size -= HEAD;
    HOLDS(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    check_symbols(path, asked[0]);
    check_reader(path, data, size, asked[1] & ~4095ull, asked[2] & ~4095ull);
    return 0;
}
