/* SPDX-License-Identifier: MIT */
/* elfsyms.c - names from ELF symbol tables (.symtab and .dynsym), without any dependency: the symbolizer of
 * last resort, and the one inside the library. Files are untrusted: what is read is bounded by the file's
 * size, and nothing is mapped, for a mapped file that is cut under us would be a fault in the program.
 * A file whose build id is not the recorded one names nothing: wrong names are worse than offsets.
 * One cache per process, under a lock, kept for ever: strings handed out stay valid. */
#include "elfsyms.h"
#include "profiler.h"
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ELFSYMS_SECTIONS = 4096, ELFSYMS_SEGMENTS = 256, ELFSYMS_BACK = 64, ELFSYMS_NOTES = 64 << 10 };

struct elfsyms_symbol {
    uint64_t value, size;
    uint64_t section_end; /* of the section that holds it: a symbol without size reaches no further */
    const char *name;
    uint32_t rank; /* of symbols at one address the highest is shown */
    uint32_t demangled;
};

struct elfsyms_file {
    struct elfsyms_file *next;
    char *path;
    struct elfsyms_symbol *symbols; /* by value, then rank */
    size_t count;
    uint64_t *starts; /* of functions, ascending: from the unwind index */
    size_t start_count;
    unsigned char build_id[64];
    uint32_t build_id_size;
    int warned;
};

/* One ELF file while it is read. */
struct elfsyms_reader {
    int fd;
    uint64_t size;
    Elf64_Ehdr header;
    Elf64_Shdr *sections;
    size_t section_count;
};

static pthread_mutex_t elfsyms_lock = PTHREAD_MUTEX_INITIALIZER;
static struct elfsyms_file *elfsyms_files;
static char elfsyms_note[512] = "native names from ELF symbol tables only: no source lines, no inlined calls";

/* `size` bytes of the file at `offset`, to be freed; NULL when the file has them not. */
static void *elfsyms_read(const struct elfsyms_reader *reader, uint64_t offset, uint64_t size)
{
    if (size == 0 || offset > reader->size || size > reader->size - offset)
        return NULL;
    unsigned char *bytes = malloc(size + 1);
    uint64_t have = 0;
    while (bytes != NULL && have < size) {
        ssize_t got = pread(reader->fd, bytes + have, size - have, (off_t)(offset + have));
        if (got <= 0) {
            free(bytes);
            return NULL;
        }
        have += (uint64_t)got;
    }
    if (bytes != NULL)
        bytes[size] = '\0'; /* a string table that ends within a name ends here */
    return bytes;
}

static int elfsyms_open(struct elfsyms_reader *reader, const char *path)
{
    struct stat status;
    memset(reader, 0, sizeof *reader);
    reader->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (reader->fd < 0)
        return 0;
    if (fstat(reader->fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size <= 0)
        return 0;
    reader->size = (uint64_t)status.st_size;
    Elf64_Ehdr *header = elfsyms_read(reader, 0, sizeof *header);
    if (header == NULL)
        return 0;
    reader->header = *header;
    free(header);
    header = &reader->header;
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
        header->e_ident[EI_DATA] != ELFDATA2LSB || header->e_shentsize != sizeof(Elf64_Shdr) ||
        header->e_shnum > ELFSYMS_SECTIONS)
        return 0;
    reader->sections = elfsyms_read(reader, header->e_shoff, header->e_shnum * sizeof(Elf64_Shdr));
    reader->section_count = reader->sections != NULL ? header->e_shnum : 0;
    return reader->sections != NULL;
}

static void elfsyms_close(struct elfsyms_reader *reader)
{
    free(reader->sections);
    if (reader->fd >= 0)
        close(reader->fd);
}

/* A code symbol's rank, 0 = not one. */
static uint32_t elfsyms_rank(const Elf64_Sym *symbol)
{
    unsigned type = ELF64_ST_TYPE(symbol->st_info), bind = ELF64_ST_BIND(symbol->st_info);
    if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx >= SHN_LORESERVE || symbol->st_name == 0)
        return 0;
    if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE)
        return 0;
    return 1 +
           (bind == STB_GLOBAL ? 2u
            : bind == STB_WEAK ? 1u
                               : 0u) +
           (symbol->st_size != 0 ? 8u : 0u) + (type != STT_NOTYPE ? 4u : 0u);
}

/* Adds the code symbols of one table; `names` stays for ever where any was added. */
static int elfsyms_add(struct elfsyms_file *file, const struct elfsyms_reader *reader, const Elf64_Sym *table,
                       size_t count, const char *names, uint64_t names_size)
{
    struct elfsyms_symbol *grown = realloc(file->symbols, (file->count + count) * sizeof *grown);
    size_t before = file->count;
    if (grown == NULL)
        return 0;
    file->symbols = grown;
    for (size_t i = 0; i < count; i++) {
        uint32_t rank = elfsyms_rank(&table[i]);
        if (rank == 0 || table[i].st_name >= names_size || table[i].st_shndx >= reader->section_count)
            continue;
        const Elf64_Shdr *section = &reader->sections[table[i].st_shndx];
        uint64_t end = section->sh_addr + section->sh_size;
        if (!(section->sh_flags & SHF_EXECINSTR) || table[i].st_value < section->sh_addr ||
            table[i].st_value >= end)
            continue;
        file->symbols[file->count++] = (struct elfsyms_symbol){
            .value = table[i].st_value,
            .size = table[i].st_size,
            .section_end = end,
            .name = names + table[i].st_name,
            .rank = rank,
        };
    }
    return file->count != before;
}

static void elfsyms_table(struct elfsyms_file *file, const struct elfsyms_reader *reader,
                          const Elf64_Shdr *section)
{
    if (section->sh_link >= reader->section_count || section->sh_entsize != sizeof(Elf64_Sym))
        return;
    const Elf64_Shdr *strings = &reader->sections[section->sh_link];
    Elf64_Sym *table = elfsyms_read(reader, section->sh_offset, section->sh_size);
    char *names = elfsyms_read(reader, strings->sh_offset, strings->sh_size);
    int used = table != NULL && names != NULL &&
               elfsyms_add(file, reader, table, section->sh_size / sizeof *table, names, strings->sh_size);
    free(table);
    if (!used)
        free(names);
}

/* The GNU build id out of a note section. */
static void elfsyms_build_id(struct elfsyms_file *file, const struct elfsyms_reader *reader,
                             const Elf64_Shdr *section)
{
    if (section->sh_size > ELFSYMS_NOTES)
        return;
    unsigned char *notes = elfsyms_read(reader, section->sh_offset, section->sh_size);
    uint64_t at = 0;
    while (notes != NULL && section->sh_size - at >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        memcpy(&note, notes + at, sizeof note);
        uint64_t name = at + sizeof note, data = name + ((note.n_namesz + 3ull) & ~3ull);
        uint64_t next = data + ((note.n_descsz + 3ull) & ~3ull);
        if (next > section->sh_size)
            break;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(notes + name, "GNU", 4) == 0 &&
            note.n_descsz <= sizeof file->build_id) {
            memcpy(file->build_id, notes + data, note.n_descsz);
            file->build_id_size = note.n_descsz;
        }
        at = next;
    }
    free(notes);
}

static int elfsyms_compare(const void *left, const void *right)
{
    const struct elfsyms_symbol *l = left, *r = right;
    if (l->value != r->value)
        return l->value < r->value ? -1 : 1;
    if (l->rank != r->rank)
        return l->rank < r->rank ? -1 : 1;
    return strcmp(r->name, l->name);
}

struct elfsyms_index { /* .eh_frame_hdr as all linkers write it; other encodings are left unread */
    uint8_t version, pointer_encoding, count_encoding, table_encoding;
    int32_t eh_frame;
    uint32_t count;
    struct {
        int32_t start, entry; /* relative to the index itself */
    } rows[];
};

static void elfsyms_index(struct elfsyms_file *file, const struct elfsyms_reader *reader,
                          const Elf64_Phdr *segment)
{
    struct elfsyms_index *index = elfsyms_read(reader, segment->p_offset, segment->p_filesz);
    if (index != NULL && segment->p_filesz >= sizeof *index && index->version == 1 &&
        index->pointer_encoding == 0x1b && index->count_encoding == 0x03 && index->table_encoding == 0x3b &&
        index->count <= (segment->p_filesz - sizeof *index) / sizeof index->rows[0] && file->starts == NULL)
        file->starts = malloc((index->count + 1ull) * sizeof *file->starts);
    uint64_t before = 0;
    for (uint32_t i = 0; file->starts != NULL && i < index->count; i++) {
        uint64_t start = segment->p_vaddr + (uint64_t)(int64_t)index->rows[i].start;
        if (start < before)
            break;
        file->starts[file->start_count++] = before = start;
    }
    free(index);
}

static void elfsyms_segments(struct elfsyms_file *file, const struct elfsyms_reader *reader)
{
    const Elf64_Ehdr *header = &reader->header;
    if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum > ELFSYMS_SEGMENTS)
        return;
    Elf64_Phdr *segments = elfsyms_read(reader, header->e_phoff, header->e_phnum * sizeof *segments);
    for (size_t i = 0; segments != NULL && i < header->e_phnum && file->starts == NULL; i++)
        if (segments[i].p_type == PT_GNU_EH_FRAME)
            elfsyms_index(file, reader, &segments[i]);
    free(segments);
}

static void elfsyms_sections(struct elfsyms_file *file, const struct elfsyms_reader *reader)
{
    int symtab = 0, dynsym = 0; /* one of each is what linkers write; more would only cost memory */
    for (size_t i = 0; i < reader->section_count; i++) {
        const Elf64_Shdr *section = &reader->sections[i];
        if ((section->sh_type == SHT_SYMTAB && symtab++ == 0) ||
            (section->sh_type == SHT_DYNSYM && dynsym++ == 0))
            elfsyms_table(file, reader, section);
        else if (section->sh_type == SHT_NOTE)
            elfsyms_build_id(file, reader, section);
    }
}

/* The file's entry, read at first sight; one that can't be read stays without symbols. NULL: no memory. */
static struct elfsyms_file *elfsyms_get(const char *path)
{
    struct elfsyms_file *file = elfsyms_files;
    while (file != NULL && strcmp(file->path, path) != 0)
        file = file->next;
    if (file != NULL)
        return file;
    file = calloc(1, sizeof *file);
    if (file == NULL || (file->path = strdup(path)) == NULL) {
        free(file);
        return NULL;
    }
    file->next = elfsyms_files;
    elfsyms_files = file;
    struct elfsyms_reader reader;
    if (elfsyms_open(&reader, path)) {
        elfsyms_sections(file, &reader);
        elfsyms_segments(file, &reader);
        if (file->count != 0)
            qsort(file->symbols, file->count, sizeof *file->symbols, elfsyms_compare);
    }
    elfsyms_close(&reader);
    return file;
}

/* The symbol whose code holds `offset`: by its size, or, without one, as far as its section and the next
 * symbol allow. Nested and overlapping symbols: the nearest start wins. */
static struct elfsyms_symbol *elfsyms_find(const struct elfsyms_file *file, uint64_t offset)
{
    size_t low = 0, high = file->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (file->symbols[middle].value <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; i-- > 0 && low - i <= ELFSYMS_BACK;) {
        struct elfsyms_symbol *symbol = &file->symbols[i];
        if (symbol->size != 0 && offset - symbol->value < symbol->size)
            return symbol;
    }
    struct elfsyms_symbol *nearest = low > 0 ? &file->symbols[low - 1] : NULL;
    return nearest != NULL && nearest->size == 0 && offset < nearest->section_end ? nearest : NULL;
}

static void elfsyms_demangle(struct elfsyms_symbol *symbol)
{
    typedef char *demangler(const char *, char *, size_t *, int *);
    if (symbol->demangled || strncmp(symbol->name, "_Z", 2) != 0)
        return;
    symbol->demangled = 1;
    void *found = dlsym(RTLD_DEFAULT, "__cxa_demangle");
    demangler *demangle;
    memcpy(&demangle, &found, sizeof demangle); /* ISO C has no cast from object to function pointers */
    int status = -1;
    char *name = found != NULL ? demangle(symbol->name, NULL, NULL, &status) : NULL;
    if (status == 0 && name != NULL)
        symbol->name = name;
}

/* The file of that path and build, under the lock; NULL when there is none. */
static struct elfsyms_file *elfsyms_usable(const char *path, const unsigned char *build_id,
                                           uint32_t build_id_size)
{
    struct elfsyms_file *file = elfsyms_get(path);
    if (file == NULL || build_id_size == 0 || file->build_id_size == 0 ||
        (build_id_size == file->build_id_size && memcmp(build_id, file->build_id, build_id_size) == 0))
        return file;
    if (!file->warned)
        snprintf(elfsyms_note, sizeof elfsyms_note,
                 "%.300s is another build than the one recorded: its functions are shown as offsets", path);
    file->warned = 1;
    return NULL;
}

static int elfsyms_resolve(void *context, const char *path, const unsigned char *build_id,
                           uint32_t build_id_size, uint64_t offset, struct profiler_symbol *out, int capacity)
{
    (void)context;
    if (capacity < 1)
        return 0;
    pthread_mutex_lock(&elfsyms_lock);
    struct elfsyms_file *file = elfsyms_usable(path, build_id, build_id_size);
    struct elfsyms_symbol *symbol = file != NULL ? elfsyms_find(file, offset) : NULL;
    if (symbol != NULL) {
        elfsyms_demangle(symbol);
        *out = (struct profiler_symbol){.function = symbol->name};
    }
    pthread_mutex_unlock(&elfsyms_lock);
    return symbol != NULL;
}

int elfsyms_start(const char *path, const unsigned char *build_id, uint32_t build_id_size, uint64_t offset,
                  uint64_t *start)
{
    pthread_mutex_lock(&elfsyms_lock);
    const struct elfsyms_file *file = elfsyms_usable(path, build_id, build_id_size);
    size_t low = 0, high = file != NULL ? file->start_count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (file->starts[middle] <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low > 0)
        *start = file->starts[low - 1];
    pthread_mutex_unlock(&elfsyms_lock);
    return low > 0;
}

struct profiler_symbolizer *profiler_symbolizer_elf(void)
{
    static struct profiler_symbolizer symbolizer = {NULL, elfsyms_resolve, elfsyms_note};
    return &symbolizer;
}
