"""The ground floor: values in, values out. No I/O, no clock, no database, no logging."""
