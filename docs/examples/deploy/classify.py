"""Classifies raw RGB pixels with a packed model, by ctypes alone:

    python3 classify.py librtfq.so model.rtfq image.ppm

With numpy an array's `ctypes.data` goes where the bytes go here.
"""
import ctypes
import sys


class Image(ctypes.Structure):
    _fields_ = [("pixels", ctypes.c_char_p), ("width", ctypes.c_int), ("height", ctypes.c_int),
                ("stride", ctypes.c_ssize_t), ("format", ctypes.c_int)]


GRAY8, RGB8, BGR8, RGBA8, BGRA8 = range(5)


class Model:
    def __init__(self, library, path):
        self.lib = ctypes.CDLL(library)
        self.lib.rtfq_error.restype = ctypes.c_char_p
        self.lib.rtfq_class_name.restype = ctypes.c_char_p
        self.lib.rtfq_class_name.argtypes = [ctypes.c_void_p, ctypes.c_int]
        self.lib.rtfq_class_count.argtypes = [ctypes.c_void_p]
        self.lib.rtfq_new_context.argtypes = [ctypes.c_void_p] * 3
        self.lib.rtfq_run_image.argtypes = [ctypes.c_void_p] * 3
        self.lib.rtfq_softmax.argtypes = [ctypes.c_void_p, ctypes.c_int]
        self.lib.rtfq_softmax.restype = None
        for name in "rtfq_free_context", "rtfq_free_model":
            getattr(self.lib, name).argtypes = [ctypes.c_void_p]
            getattr(self.lib, name).restype = None
        self.model, self.context = ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.lib.rtfq_load_file(path.encode(), ctypes.byref(self.model)))
        self.check(self.lib.rtfq_new_context(self.model, None, ctypes.byref(self.context)))
        count = self.lib.rtfq_class_count(self.model)
        self.classes = [self.lib.rtfq_class_name(self.model, k).decode() for k in range(count)]

    def check(self, status):
        if status:
            raise RuntimeError(self.lib.rtfq_error().decode())

    def classify(self, pixels, width, height, layout=RGB8):
        answer = (ctypes.c_float * len(self.classes))()
        image = Image(pixels, width, height, 0, layout)
        self.check(self.lib.rtfq_run_image(self.context, ctypes.byref(image), answer))
        self.lib.rtfq_softmax(answer, len(self.classes))
        return dict(zip(self.classes, answer))

    def close(self):
        self.lib.rtfq_free_context(self.context)
        self.lib.rtfq_free_model(self.model)


if __name__ == "__main__":
    library, path, image = sys.argv[1:4]
    with open(image, "rb") as file:
        kind, width, height = file.readline().split()[0], *map(int, file.readline().split())
        file.readline()
        pixels = file.read()
    model = Model(library, path)
    answers = model.classify(pixels, width, height, GRAY8 if kind == b"P5" else RGB8)
    best = max(answers, key=answers.get)
    print(f"{best} {answers[best]:.6f}")
    model.close()
