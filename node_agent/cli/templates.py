"""The files of a new node, as `node-agent init` writes them: each key with what it is for."""

from __future__ import annotations

from string import Template
from typing import Final

CONFIG: Final = Template("""\
# The node's configuration. Each key can also be set by a variable that goes before this file: NODE_STRATEGY__NAME is
# `name` in [strategy]. The owner's limits are in policy.toml.

[node]
name = "$name"  # how the server's operator sees this node
mode = "$mode"  # paper: recorded prices and play money; live: real orders, if `run` is told --live too

[vault]
$vault

[exchange]
name = "$exchange"
symbol = "$symbol"
$of_exchange
[strategy]
name = "$strategy"           # ma_trend: long while the fast average of closes is above the slow one; or none
fast = 10                    # candles
slow = 30
notional = "$notional"             # size of an entry, in the quote currency

[log]
format = "text"              # or json
level = "info"               # debug, info, warning, error
""")

POLICY: Final = Template("""\
# The owner's limits: no signal, strategy or server gets past them, and no server can change them. Amounts of money are
# in the quote currency, in quotes; ages are in seconds. A change holds from the next order on.
# Cancels and exits stay allowed whatever is reached. Try an order on them: node-agent policy check --help

exchanges = ["$exchange"]
symbols = ["$symbol"]
sides = ["buy", "sell"]
order_types = ["market", "limit", "stop"]
max_order_notional = "1000"       # of one order
max_open_notional = "5000"        # of all open orders
max_position_notional = "5000"    # of one symbol, open orders included
max_total_notional = "5000"       # of all positions and open orders
orders_per_minute = 60
orders_per_day = 5000
daily_loss = "500"                # new risk stops when a day (UTC) has lost this much
drawdown = "500"                  # and when so much is lost since the day's best moment
price_collar = "0.20"             # no price worse than the last trade by more than this fraction
max_signal_age = 0                # what was decided longer ago is not traded; 0: as long as its command is good
max_data_age = 180                # nothing is weighed by a price that is older
trading_hours = []                # such as ["mon-fri 08:00-17:30"], UTC; always when empty
server_commands = true            # or false, or those that are taken: ["order.cancel", "trading.pause"]
max_clock_drift = 2               # between this machine's clock and the exchange's
server_silence = 0                # how long the server may be silent; 0: for ever
on_server_silence = "pause"       # then: pause (new risk), cancel_open (orders), or flatten (positions too)
""")

OF_PAPER: Final = Template("""\

[paper]                      # the paper exchange
candles = "$candles"
volume_unit = "$volume_unit"         # what the recording counts volume in: base or quote currency
cash = "$cash"               # of the quote currency, at the start
maker_fee = "0.001"          # a fraction of the notional
taker_fee = "0.001"
volume_share = "0.1"         # a resting order gets at most this share of a candle's volume
tick_size = "0.5"            # prices are whole multiples of it
step_size = "0.00001"        # amounts are whole multiples of it
minimum_notional = "5"
""")

OF_A_REAL_ONE: Final = """\
interval = "1m"              # of candles: 1m, 5m, 15m, 1h
recv_window = 5              # seconds for which a request is good at the exchange, where it knows such a thing
"""
