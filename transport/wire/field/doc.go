// Package field reads protobuf messages that are so frequent that package proto's way of reading any message costs too much.
//
// A [Reader] reads the fields of one message in the order of their numbers, each at most once and none unknown, as package
// proto writes them. Its users read one fixed shape and leave everything that is written otherwise to package proto, so
// that bytes mean the same whoever reads them. The numbers must be below 16, whose tags have one byte.
//
// It does not write, does not know types, and checks no text for being UTF-8, which a proto3 string must be: its users do.
//
// Source: protobuf.dev/programming-guides/encoding.
package field
