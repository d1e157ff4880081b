"""Write a GeoTIFF with statistics and overviews beside it, a Zarr group and an OME-Zarr picture."""

import numpy as np
import rasterio
import zarr
from ome_zarr_models.v05 import Image
from ome_zarr_models.v05.axes import Axis
from pydantic_zarr.v3 import ArraySpec
from rasterio.transform import from_origin

rows = np.arange(4096, dtype="uint16").reshape(64, 64)
georeference = {"crs": "EPSG:4326", "transform": from_origin(0, 0, 1, 1)}
with rasterio.open(
    "out/height.tif", "w", driver="GTiff", width=64, height=64, count=1, dtype="uint16", **georeference
) as raster:
    raster.write(rows, 1)
with rasterio.Env(TIFF_USE_OVR=True), rasterio.open("out/height.tif", "r+") as raster:
    raster.build_overviews([2])
    raster.stats()

group = zarr.open_group("out/features.zarr", mode="w")
group.create_array("train", data=rows, chunks=(32, 32))
group.create_array("test", data=rows[:8])

sizes = (64, 32)
specs = [ArraySpec.from_array(rows[:size, :size], dimension_names=("y", "x")) for size in sizes]
axes = [Axis(name=name, type="space", unit="micrometer") for name in "yx"]
picture = Image.new(
    array_specs=specs, paths=["0", "1"], axes=axes, scales=[[1, 1], [2, 2]], translations=[None, None]
).to_zarr("out/cells.ome.zarr", path="")
for name, size in zip("01", sizes, strict=True):
    picture[name][:] = rows[:: 64 // size, :: 64 // size]
