"""What a model knows, and where in it.

`probing` asks every layer what it knows of a sentence (and builds the tasks from treebanks); `heads` how much every
attention head matters; `attention` what heads attend to, and which follow syntax; `similarity` whose layers are alike;
`neurons` which single neurons carry a property; `page` draws what was found.
"""

SUITE = "inspection"
