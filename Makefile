# plait: `make demo` and `make test` are the two commands of README.md; the rest is below.

CC ?= cc
BUILD := build
PYTHON ?= python3

# -Wconversion: sizes and offsets are untrusted numbers here. -fno-stack-protector: the helper is a raw thread
# whose thread-local block is not libc's. -z now: no PLT resolution may run inside the signal handler.
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes -Werror
CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE $(CFLAGS) $(WARNINGS) -fPIC -fvisibility=hidden -fno-stack-protector \
              -fno-omit-frame-pointer -ftls-model=initial-exec -Iinclude -Isrc
LDFLAGS_SO := -shared -Wl,-z,now -Wl,-z,relro -Wl,-z,defs -Wl,--as-needed -Wl,-soname,libplait-profiler.so.1

SOURCES := $(filter-out src/symbols/%,$(wildcard src/*.c src/*/*.c))
OBJECTS := $(SOURCES:src/%.c=$(BUILD)/obj/%.o)
TESTS := $(patsubst tests/c/test_%.c,$(BUILD)/test_%,$(wildcard tests/c/test_*.c))

all: $(BUILD)/libprofiler.so

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libprofiler.so: $(OBJECTS)
	$(CC) $(LDFLAGS_SO) -o $@ $^ -lm -lpthread -ldl

$(BUILD)/libprofiler.a: $(OBJECTS)
	rm -f $@
	ar rcs $@ $^

$(BUILD)/test_%: tests/c/test_%.c $(BUILD)/libprofiler.a tests/c/check.h
	$(CC) $(ALL_CFLAGS) -Itests/c -o $@ $< $(BUILD)/libprofiler.a -lm -lpthread -ldl

test-c: $(TESTS)
	@set -e; for test in $(TESTS); do echo "== $$test"; $$test; done

clean:
	rm -rf $(BUILD)

.PHONY: all test-c clean
-include $(OBJECTS:.o=.d)
