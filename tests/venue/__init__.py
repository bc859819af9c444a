"""What the exchanges on loopback have in common: an account with its books, a script of prices, faults, HTTP, control.

Each dialect, such as `tests.kraken`, is a process that speaks the real exchange's wire format and checks what it gets.
"""
