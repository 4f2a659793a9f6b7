# SPDX-License-Identifier: Apache-2.0
# The node on a desktop with an NVIDIA GPU: PyTorch with CUDA, ROS 2 Jazzy. The host needs NVIDIA's container toolkit.
#   docker build -f docker/cuda.Dockerfile -t fusion_mamba_ros:cuda .
#   docker run --rm --gpus all --network host --shm-size 1g fusion_mamba_ros:cuda
FROM ros:jazzy-ros-base

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# build-essential also at run time: Triton compiles the launcher of its kernels with the C compiler.
RUN apt-get update && apt-get install -y --no-install-recommends \
      build-essential python3-dev python3-venv \
      ros-jazzy-cv-bridge ros-jazzy-message-filters ros-jazzy-vision-msgs \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /workspace
# PyTorch's default build for Linux x86_64 brings the CUDA libraries and Triton.
RUN python3 -m venv --system-site-packages /opt/fusion_mamba \
    && /opt/fusion_mamba/bin/pip install --no-cache-dir "torch==2.13.0" "numpy<2" "opencv-python-headless>=4.8,<4.12" \
      "safetensors>=0.4" "typer>=0.12" "rich>=13" "rosbags>=0.11"

COPY . src/fusion_mamba_ros
RUN source /opt/ros/jazzy/setup.bash && source /opt/fusion_mamba/bin/activate \
    && colcon build --packages-select fusion_mamba_ros --cmake-args -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF

COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "fusion_mamba_ros", "detect.launch.py"]
