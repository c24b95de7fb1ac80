"""What others would do with a folder of JPEG files on one machine, for bench/infer.py.

infer_peers.py torch MODEL FOLDER EDGE THREADS WORKERS         torchvision's DataLoader with its workers, PyTorch
infer_peers.py onnxruntime MODEL FOLDER EDGE THREADS WORKERS   libjpeg-turbo in threads, ONNX Runtime

Reads lines "BATCH SECONDS" and answers each with a line "IMAGES SECONDS". THREADS are the engine's; the workers decode.
"""
import collections
import concurrent.futures
import itertools
import pathlib
import sys
import time

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def run_torch(model, files, edge, threads, workers):
    import torch
    from torchvision.io import ImageReadMode, read_image
    from torchvision.transforms import functional

    class Pictures(torch.utils.data.IterableDataset):
        def __iter__(self):  # each worker its share, again and again
            worker = torch.utils.data.get_worker_info()
            for file in itertools.cycle(files[worker.id :: worker.num_workers]):
                image = read_image(str(file), ImageReadMode.RGB)
                if image.shape[1:] != (edge, edge):
                    image = functional.resize(image, [edge, edge], antialias=True)
                yield functional.normalize(image.float().div_(255), MEAN, DEVIATION, inplace=True)

    torch.set_num_threads(threads)
    net = torch.jit.freeze(torch.jit.load(model).eval())

    def batches(batch):
        with torch.inference_mode():
            for images in torch.utils.data.DataLoader(Pictures(), batch_size=batch, num_workers=workers):
                net(images).argmax(1)
                yield len(images)

    return batches


def run_onnxruntime(model, files, edge, threads, workers):
    import numpy
    import onnxruntime
    import simplejpeg
    from PIL import Image

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    data = [file.read_bytes() for file in files]
    scale = (1 / (255 * numpy.array(DEVIATION))).astype(numpy.float32)[:, None, None]
    offset = (-numpy.array(MEAN) / DEVIATION).astype(numpy.float32)[:, None, None]

    def decode(batch):
        tensors = numpy.empty((len(batch), 3, edge, edge), numpy.float32)
        for jpeg, tensor in zip(batch, tensors):
            pixels = simplejpeg.decode_jpeg(jpeg)
            if pixels.shape[:2] != (edge, edge):
                pixels = numpy.asarray(Image.fromarray(pixels).resize((edge, edge)))
            numpy.multiply(pixels.transpose(2, 0, 1), scale, out=tensor)
            tensor += offset
        return tensors

    def batches(batch):
        pictures = itertools.cycle(data)
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            ahead = collections.deque()
            while True:
                while len(ahead) <= 2 * workers:
                    ahead.append(pool.submit(decode, list(itertools.islice(pictures, batch))))
                tensors = ahead.popleft().result()
                session.run(None, {"image": tensors})[0].argmax(1)
                yield len(tensors)

    return batches


# The first batches, while workers start and nets warm up, do not count: two, or one where that takes long.
def measure(batches, seconds):
    start = time.perf_counter()
    next(batches)
    if time.perf_counter() - start < 2:
        next(batches)
    start, images = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        images += next(batches)
    return images, time.perf_counter() - start


def main():
    kind, model, folder, edge, threads, workers = sys.argv[1:]
    files = sorted(pathlib.Path(folder).glob("*.jp*g"))
    run = {"torch": run_torch, "onnxruntime": run_onnxruntime}[kind]
    batches_of = run(model, files, int(edge), int(threads), int(workers))
    for line in sys.stdin:
        batch, seconds = line.split()
        batches = batches_of(int(batch))
        print(*measure(batches, float(seconds)), flush=True)
        batches.close()


if __name__ == "__main__":
    main()
