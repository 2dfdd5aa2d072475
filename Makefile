# plait: `make demo` and `make test` are the two commands of README.md; the rest is below.

CC ?= cc
BUILD := build
comma := ,
PYTHON ?= python3

# -Wconversion: sizes and offsets are untrusted numbers here. -fno-stack-protector: the helper is a raw thread
# whose thread-local block is not libc's. -z now: no PLT resolution may run inside the signal handler.
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes -Werror
CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE $(CFLAGS) $(WARNINGS) -fPIC -fvisibility=hidden -fno-stack-protector \
              -fno-omit-frame-pointer -ftls-model=initial-exec -Iinclude -Isrc
LDFLAGS_SO := -shared -Wl,-z,noseparate-code -Wl,-z,now -Wl,-z,relro -Wl,-z,defs -Wl,-z,nodelete -Wl,-Bsymbolic -Wl,--as-needed -Wl,-soname,libplait-profiler.so.1

SOURCES := $(filter-out src/symbols/%,$(wildcard src/*.c src/*/*.c))
OBJECTS := $(SOURCES:src/%.c=$(BUILD)/obj/%.o)
TESTS := $(patsubst tests/c/test_%.c,$(BUILD)/test_%,$(wildcard tests/c/test_*.c))

# What the Python side needs: rich for the demo's console; the rest for the tests. Pinned: a new linter must not
# fail an old commit.
VENV := .venv
VENV_PYTHON := $(VENV)/bin/python
PACKAGES := rich==13.9.4 pytest==8.3.4 ruff==0.8.6 mypy==1.14.1 clang-format==14.0.6

# One short line a step; `make V=1` shows the commands.
ifeq ($(V),)
Q = @echo "  cc $@";
endif

all: $(BUILD)/libprofiler.so symbols

# Names for reports; without libdw's headers they come from ELF symbol tables.
SYMBOL_SOURCES := $(wildcard src/symbols/*.c)
symbols:
	@if echo '#include <elfutils/libdwfl.h>' | $(CC) -E - >/dev/null 2>&1; then \
	    $(MAKE) --no-print-directory $(BUILD)/libprofiler-symbols.so; \
	else \
	    echo "plait: no elfutils/libdwfl.h (libdw-dev): reports will use ELF symbol tables alone"; \
	fi

$(BUILD)/libprofiler-symbols.so: $(SYMBOL_SOURCES) $(wildcard src/symbols/*.h) include/profiler.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -shared -Wl,-z,relro -Wl,-z,defs -Wl,-z,nodelete -Wl,-Bsymbolic -Wl,--as-needed -o $@ $(SYMBOL_SOURCES) \
	    -ldw -ldl -lpthread

# Fast: what runs at every tick or makes tables. All else small: the library is part of every process of a tree.
FAST := braid greenlet $(addprefix core/,ring checksum varint) $(addprefix engine/,handler clock_% counter_% rerun_%) \
        $(addprefix native/,unwind_% sight kernel_% cfi_program) $(addprefix os/,%) $(addprefix python/,walk code guard) \
        $(addprefix record/,intern writer writer_stack)
SMALL := $(filter-out $(FAST:%=$(BUILD)/obj/%.o),$(OBJECTS))
$(SMALL): ALL_CFLAGS += -Os

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libprofiler.so: $(OBJECTS)
	$(Q)$(CC) $(LDFLAGS_SO) -o $@ $^ -lm -lpthread -ldl
	@ln -sf $(@F) $(@D)/libplait-profiler.so.1

$(BUILD)/libprofiler.a: $(OBJECTS)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/test_%: tests/c/test_%.c $(BUILD)/libprofiler.a tests/c/check.h
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/c $(TEST_LDFLAGS) -o $@ $< $(BUILD)/libprofiler.a -lm -lpthread -ldl
$(BUILD)/test_shortage: TEST_LDFLAGS := $(patsubst %,-Wl$(comma)--wrap=%,malloc calloc realloc free os_map os_unmap os_grow)
$(BUILD)/test_threads: TEST_LDFLAGS := $(patsubst %,-Wl$(comma)--wrap=%,os_map os_unmap)

test-c: $(TESTS)
	@set -e; for test in $(TESTS); do echo "== $$test"; $$test; done

# ---- the two commands, and what they need ----

system:
	@CC="$(CC)" PYTHON="$(PYTHON)" tools/system.sh

venv: system
	@$(PYTHON) tools/make_venv.py $(VENV) $(PACKAGES)

demo: system
	@$(MAKE) --no-print-directory all
	@$(PYTHON) tools/make_venv.py $(VENV) $(PACKAGES) || echo "plait: going on without .venv: plain text only"
	@python=$(VENV_PYTHON); [ -x $$python ] || python=$(PYTHON); sh demo/demo.sh $$python $(BUILD)/demo

test: venv
	@$(MAKE) --no-print-directory all $(TESTS)
	@$(VENV_PYTHON) tests/run.py --build $(BUILD) --cc "$(CC)"

lint: venv
	@$(VENV_PYTHON) tests/run.py --build $(BUILD) --cc "$(CC)" --only style

bench: venv all
	@$(VENV_PYTHON) bench/run.py

# What fuzzing has found becomes the corpus that it begins with.
corpus: venv
	@$(VENV_PYTHON) tests/run.py --build $(BUILD) --only fuzz --fuzz-seconds 300 --keep-corpus

# The tests of each interpreter on builds that nobody ships; building them takes a while, once.
matrix-full: venv all
	@$(VENV_PYTHON) tests/run.py --build $(BUILD) --only special

soak: venv all
	@$(VENV_PYTHON) tests/run.py --build $(BUILD) --only fuzz --fuzz-seconds 300
	@set -e; for script in tests/soak/*.py; do echo "== $$script"; $(VENV_PYTHON) $$script; done

clean:
	rm -rf $(BUILD)

.PHONY: all symbols test-c system venv demo test lint bench matrix-full corpus soak clean
-include $(OBJECTS:.o=.d)
