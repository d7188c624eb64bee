"""Let ``import caffe`` mean the embedded engine, in this process and its children.

import scratchdet_caffe.pycaffe.install
import caffe  # from here on, anywhere in the program
"""

from scratchdet_caffe.pycaffe.alias import install

install()
