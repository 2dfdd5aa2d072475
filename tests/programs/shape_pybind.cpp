// SPDX-License-Identifier: MIT
// shape_pybind.cpp - pybind11: calls from and into Python, an exception through both, a vector by value.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <vector>

namespace py = pybind11;

static volatile long sink;

__attribute__((noinline)) long pb_work(long rounds)
{
    for (long i = 0; i < rounds; i++)
        sink = sink + (i & 3);
    return sink;
}

__attribute__((noinline)) py::object pb_call(const py::object &callback, int level)
{
    pb_work(1000);
    py::object result = callback(level);
    sink = sink + 1;
    return result;
}

__attribute__((noinline)) std::vector<long> pb_map(const py::object &callback, const std::vector<long> &values)
{
    std::vector<long> out;
    for (long value : values)
        out.push_back(callback(value).cast<long>());
    return out;
}

__attribute__((noinline)) int pb_throw(const py::object &callback)
{
    try {
        callback(-1);
    } catch (py::error_already_set &) {
        pb_work(1000);
        throw std::runtime_error("from C++");
    }
    return 0;
}

PYBIND11_MODULE(shape_pybind, m)
{
    m.def("pb_call", &pb_call);
    m.def("pb_map", &pb_map);
    m.def("pb_throw", &pb_throw);
}
